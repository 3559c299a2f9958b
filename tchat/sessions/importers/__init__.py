"""Chats of other programs, and of tchat itself, read from what they export or store.

A new program is a module here and its place in `IMPORTERS`. Which program wrote a file is told by
what is in it, whatever the file is called. Nothing that is read is trusted, and databases of others
are never written.
"""

from __future__ import annotations

from tchat.sessions.importers.chatgpt import CHATGPT
from tchat.sessions.importers.claude import CLAUDE
from tchat.sessions.importers.importer import (
    DatabaseImporter,
    Importer,
    ImportReport,
    Sessions,
    TextImporter,
)
from tchat.sessions.importers.llama_cpp import LLAMA_CPP
from tchat.sessions.importers.llm_logs import LLM_LOGS
from tchat.sessions.importers.lm_studio import LM_STUDIO
from tchat.sessions.importers.open_webui import OPEN_WEBUI
from tchat.sessions.importers.openai_messages import OPENAI_MESSAGES
from tchat.sessions.importers.oterm import OTERM
from tchat.sessions.importers.silly_tavern import SILLY_TAVERN
from tchat.sessions.importers.tchat_json import TCHAT_JSON_IMPORTER
from tchat.sessions.importers.tchat_markdown import TCHAT_MARKDOWN

__all__ = [
    "IMPORTERS",
    "DatabaseImporter",
    "ImportReport",
    "Importer",
    "Sessions",
    "TextImporter",
]

# The first that matches reads.
IMPORTERS: tuple[Importer, ...] = (
    TCHAT_JSON_IMPORTER,
    TCHAT_MARKDOWN,
    CHATGPT,
    CLAUDE,
    OPEN_WEBUI,
    LM_STUDIO,
    LLAMA_CPP,
    LLM_LOGS,
    OTERM,
    SILLY_TAVERN,
    OPENAI_MESSAGES,
)
