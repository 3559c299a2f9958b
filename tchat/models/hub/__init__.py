"""The Hugging Face hub: its API, names, cache and downloads."""
