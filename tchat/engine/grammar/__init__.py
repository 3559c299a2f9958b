"""Grammars (GBNF) that constrain a reply: checked, and made from JSON schemas and patterns."""
