"""Tables and pictures of measured results."""
