"""Scenes with known motion: line kernels, moving objects, depth."""
