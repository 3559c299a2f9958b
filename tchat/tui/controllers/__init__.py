"""Controllers of the chat screen: each owns one concern and gets the others it needs."""
