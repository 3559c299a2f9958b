"""Dialogs: one question each, with its answer as the result."""
