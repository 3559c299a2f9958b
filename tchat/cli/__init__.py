"""The Unix command."""
