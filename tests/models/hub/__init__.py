"""The Hugging Face hub and its cache, against a server on loopback."""
