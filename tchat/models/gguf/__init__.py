"""GGUF files: headers that are checked before llama.cpp reads them."""
