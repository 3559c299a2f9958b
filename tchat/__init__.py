"""tchat: chat in the terminal with local, quantized language models."""

__version__ = "0.2.0"
