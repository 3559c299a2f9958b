"""Services of the screen, off the event loop: chat, stored sessions, models, downloads."""
