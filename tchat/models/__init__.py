"""Model files: what is on disk, and whether it can be trusted."""
