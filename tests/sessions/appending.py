"""A process that appends to a store beside others: ``python -m tests.sessions.appending``.

Arguments: the file, how many turns, a name for them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tchat.sessions.records import Role, Status
from tchat.sessions.store import SessionStore
from tests.sessions.stores import new_session, recover


def append(path: Path, turns: int, name: str) -> None:
    with SessionStore(path) as store:
        session = new_session(store, title=name)
        parent = None
        for turn in range(turns):
            asked = store.add(session.id, Role.USER, f"{name} asks {turn}", parent_id=parent)
            reply = store.add(
                session.id, Role.ASSISTANT, "", parent_id=asked.id, status=Status.STREAMING
            )
            store.journal(reply.id, f"{name} ans")
            recover(store)
            parent = store.finish(reply.id, status=Status.DONE, text=f"{name} answers {turn}").id


if __name__ == "__main__":
    append(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
