"""What a chat can do besides talking: tools, and how models call them."""
