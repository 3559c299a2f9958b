"""Sessions, each a tree of messages, in one SQLite file: store, search, export, import, repair.

Entry points: `tchat.sessions.store.SessionStore` and `tchat.sessions.formats`. Importing this
package imports neither of them, nor sqlite3.
"""
