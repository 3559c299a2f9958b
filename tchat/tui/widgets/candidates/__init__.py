"""Several replies side by side, of which one is taken."""
