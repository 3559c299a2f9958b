"""What the screen asks off the event loop: the chat, the stored sessions, models, downloads."""
