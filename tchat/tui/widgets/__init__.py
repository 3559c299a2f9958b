"""Widgets: they get data and emit messages."""
