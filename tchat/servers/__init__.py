"""Models on OpenAI-compatible servers: which servers there are, and the client that asks them."""
