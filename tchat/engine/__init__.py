"""The engine: one loaded model and its contexts, over llama.cpp's C API."""
