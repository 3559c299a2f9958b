"""Speculative decoding: drafted tokens, checked in one decode."""
