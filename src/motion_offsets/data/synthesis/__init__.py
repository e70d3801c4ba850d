"""Data sets of blurred pairs, made and uploaded."""
