"""Pairs and sequences from folders, archives and data sets."""
