"""The generator: one loaded model and its contexts, over the llama.cpp C API."""
