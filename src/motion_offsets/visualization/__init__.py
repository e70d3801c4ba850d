"""Motion drawn for people."""
