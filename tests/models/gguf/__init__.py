"""GGUF headers: read, checked, hostile."""
