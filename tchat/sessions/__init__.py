"""Sessions: a tree of messages each, in one SQLite file; search, export, salvage.

Entry points: `tchat.sessions.store.SessionStore` and `tchat.sessions.export`. Importing this
package imports neither of them, nor sqlite3.
"""
