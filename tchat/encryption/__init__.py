"""The encrypted store: its keys, and files that hold words.

Nothing here is imported unless there is a lock file.
"""
