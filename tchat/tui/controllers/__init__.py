"""Controllers of the chat screen: each owns one concern, and is given the others that it needs."""
