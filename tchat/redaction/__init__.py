"""Redaction: personal data and secrets in a text, found by form, and placeholders for them."""
