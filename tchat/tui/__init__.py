"""The chat screen, with Textual."""
