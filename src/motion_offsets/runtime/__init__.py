"""Devices, memory, tiles and processes."""
