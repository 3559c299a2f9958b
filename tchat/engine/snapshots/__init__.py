"""KV states on disk, so that what was prefilled once is restored.

A state is kept as a chain of segments, each the part of some tokens, so that a conversation that
grows writes only what is new and conversations that begin alike share their beginning. Models
whose state cannot be divided (`ModelShape.divisible`) keep it whole.
"""
