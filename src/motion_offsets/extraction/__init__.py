"""Photos to result folders, one or many."""
