"""The networks, their configurations and the image processor."""
