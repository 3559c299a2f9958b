"""Chats as prompts: chat templates, their sandbox, and tokens that no text can forge."""
