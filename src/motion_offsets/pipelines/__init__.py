"""Models joined: from one photo to its clip."""
