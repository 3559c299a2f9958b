"""The use case that joins engine, models and sessions."""
