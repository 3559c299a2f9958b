"""Screens: they join widgets to the chat."""
