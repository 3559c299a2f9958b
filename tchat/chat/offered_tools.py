"""The tools that the prompts of a chat offer at the moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tchat.chat.tool_loop import ChatTools, ToolLoop
from tchat.chat.tool_protocol import ToolProtocol, protocol_for
from tchat.chat.untrusted_texts import UntrustedTexts

if TYPE_CHECKING:
    from tchat.chat.backend import Backend
    from tchat.chat.outgoing import OutgoingTexts
    from tchat.engine.binding import Cancel
    from tchat.engine.prompt.template import ChatTemplate
    from tchat.sessions.records import Message
    from tchat.sessions.store import Store


class OfferedTools:
    """Offers tools to the model of a chat, and makes the loops of its turns."""

    def __init__(self, store: Store, cancel: Cancel, outgoing: OutgoingTexts | None = None) -> None:
        self._redaction = outgoing.redaction if outgoing is not None else None
        self._store, self._cancel = store, cancel
        self._untrusted = UntrustedTexts()
        self._offer: tuple[ChatTools, ToolProtocol] | None = None
        self._last: tuple[ChatTools, ChatTemplate | None, ToolProtocol] | None = None

    def offer(self, backend: Backend, tools: ChatTools | None) -> None:
        """Offer ``tools`` in all prompts of ``backend`` from now on. Its model must be loaded.

        Raises:
            UsageError: One of the tools cannot be used.
        """
        if tools is None or tools.choice is None:
            self._offer = None
            backend.offer_tools(None)
            return
        last, engine = self._last, backend.local_engine
        template = engine.template if engine is not None else None
        if last is None or last[0] is not tools or last[1] is not template:
            registry = tools.executor.registry
            protocol = protocol_for(backend, [registry.get(n) for n in tools.names], tools.choice)
            last = self._last = tools, template, protocol
        self._offer = tools, last[2]
        backend.offer_tools(last[2].prompt)

    @property
    def names(self) -> tuple[str, ...]:
        """The tools that are offered."""
        return tuple(self._offer[0].names) if self._offer is not None else ()

    def system_prompt(self, text: str) -> str:
        """The system prompt ``text`` with what the model has to know of the tools."""
        return self._offer[1].system_prompt(text) if self._offer is not None else text

    def tell_untrusted(self, messages: Iterable[Message]) -> None:
        """Tell the approval which of ``messages`` hold text of others."""
        if self._offer is not None:
            self._untrusted.tell(self._offer[0].executor, messages)

    def loop(self) -> ToolLoop | None:
        """The steps of a turn; None where no tool is offered."""
        if self._offer is None:
            return None
        tools, protocol = self._offer
        return ToolLoop(
            tools, protocol, self._store, self._untrusted, self._cancel, redaction=self._redaction
        )
