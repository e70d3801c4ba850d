"""Files: photos, videos, motions; whole or not at all."""
