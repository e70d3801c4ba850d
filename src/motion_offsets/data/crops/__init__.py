"""Crops that training draws: augmented, rendered, stored."""
