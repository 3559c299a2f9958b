"""Places that keep model files, one module each."""
