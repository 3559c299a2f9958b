"""Chats: a session of the store with a model of the engine."""
