"""What a command prints: replies, candidates, listings, progress."""
