"""One request for a chat completion: what comes of it as events, and its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias

from tchat.engine.events import (
    Finished,
    Notice,
    PromptProgress,
    Reason,
    ReplyDelta,
    Timings,
    TokenUsage,
    ToolCallStarted,
)
from tchat.servers.connection import RetryPause, ServerConnection, StreamEnd
from tchat.servers.description import ServerDescription
from tchat.servers.errors import ServerError, cut_error, stream_error
from tchat.servers.reply import ReplyTooLong, ServerReply, Usage
from tchat.servers.request import ChatRequest, request_body
from tchat.translation import tr, trn

if TYPE_CHECKING:
    from tchat.engine.tool_reply import ToolReplies
    from tchat.redaction.outgoing import OutgoingRedaction

CHAT = "/chat/completions"

# A piece with the index of its reply, or something about all of them.
TurnItem: TypeAlias = tuple[int, ReplyDelta] | Notice | PromptProgress
# What a turn reads: a `Notice`, `PromptProgress`, `RetryPause`, `StreamEnd`, `END` or JSON.
TurnChunk: TypeAlias = object
END = object()


class ServerTurn:
    """One request, and its replies.

    Args:
        connection: To the server.
        description: The server and its model.
        request: What is asked.
        total: Tokens of the prompt, as counted or estimated here.
        redaction: Replaces values in what is sent, and puts them back; None for neither.

    Attributes:
        replies: The replies, by index.
        usage: Token counts as the server tells them.
    """

    def __init__(
        self,
        connection: ServerConnection,
        description: ServerDescription,
        request: ChatRequest,
        total: int,
        redaction: OutgoingRedaction | None = None,
    ) -> None:
        self._redaction = redaction
        self._connection, self._description = connection, description
        self._request, self._total = request, total
        in_answer = request.continue_final and bool(request.messages[-1].content)
        self.replies = {n: ServerReply(in_answer, redaction) for n in range(request.count)}
        self.usage = Usage()
        self._started = time.perf_counter()
        self._first = self._last = 0.0  # when a piece came; 0 before

    def items(
        self, is_stopped: Callable[[], bool], skipped: Container[int] = ()
    ) -> Iterator[TurnItem]:
        """Send the request; what comes, except for the replies that are ``skipped``.

        Raises:
            ServerError: The server cannot be reached, refuses, or is cut off.
            ModelNotFound, PromptTooLong: It says so.
            UsageError: It cannot do what is asked.
            Stopped: ``is_stopped`` turned true.
        """
        with closing(self.chunks(is_stopped)) as chunks:
            for chunk in chunks:
                yield from self.feed(chunk, skipped)

    def chunks(self, is_stopped: Callable[[], bool]) -> Generator[TurnChunk, None, None]:
        """Send the request; what comes, for `feed`, and `END`. Errors are those of `items`."""
        server = self._connection.server
        request = self._request
        if self._redaction is not None:
            request = request.redacted(self._redaction)
            yield from self._told(request, self._redaction)
        body, notices = request_body(
            request, self._description.model.id, self._description.kind, server.name
        )
        yield from notices
        yield PromptProgress(0, self._total, 0)
        self._started = time.perf_counter()
        yield from self._connection.stream(CHAT, body, is_stopped)
        yield END

    def feed(self, chunk: TurnChunk, skipped: Container[int] = ()) -> Iterator[TurnItem]:
        """Read one of the `chunks`; what it says, except of the replies that are ``skipped``.

        Raises:
            ServerError: It is an error, or the end of a reply that is not whole.
            PromptTooLong: It says so.
        """
        if isinstance(chunk, Notice | PromptProgress):
            yield chunk
        elif chunk is END:
            if problem := self._connection.egress.take_problem():
                yield Notice("storage", problem)
            if not self._first:  # a reply without text
                yield from self._prefilled()
        elif isinstance(chunk, RetryPause):
            text = tr(
                "{reason}: trying again in {seconds:.0f} seconds",
                reason=chunk.reason,
                seconds=chunk.seconds,
            )
            yield Notice("model", text)
        elif isinstance(chunk, StreamEnd):
            self._require_whole(chunk.is_marked, skipped)
        else:
            yield from self._items_of(chunk, skipped)

    @property
    def offered(self) -> Sequence[Mapping[str, Any]]:
        """The tools that were offered."""
        return self._request.tools

    def close(self, index: int) -> list[ReplyDelta]:
        """End the reply ``index``; returns the text that was held back."""
        return self.replies[index].close()

    def calls(self, tools: ToolReplies | None) -> Iterator[ToolCallStarted | Notice]:
        """Give the calls of the first reply to the reader of ``tools``, each as text.

        One that was stopped calls nothing.
        """
        reply = self.replies[0]
        if reply.reason is Reason.CANCELLED:
            return
        if not reply.calls:
            if self._request.demanded and reply.reason is not Reason.LENGTH:
                name = self._connection.server.name
                text = tr("{name} lets the model answer instead of calling a tool", name=name)
                yield Notice("tool", text)
            return
        if tools is None:
            text = tr("the model called a tool instead of answering, and there is none")
            yield Notice("tool", text)
            return
        reader = tools.reader("", False)
        for index, (_, call) in enumerate(sorted(reply.calls.items())):
            yield ToolCallStarted(index, call.name)
            reader.feed(call.as_text(self._redaction))
        reader.close()

    def stop(self, index: int) -> None:
        """The user stopped the reply ``index``, unless it has ended."""
        self.replies[index].reason = self.replies[index].reason or Reason.CANCELLED

    def finished(self, index: int, seed: int, text: str = "") -> Finished:
        """The end of the reply ``index``, with ``text`` in place of its own."""
        reply, usage = self.replies[index], self.usage
        now = time.perf_counter()
        first, last = self._first or now, self._last or now
        prompt = self._total if usage.prompt is None else usage.prompt
        cached = min(usage.cached or 0, prompt)
        alone = len(self.replies) == 1
        written = usage.completion if alone and usage.completion is not None else reply.deltas
        reasoned = usage.reasoning
        if reasoned is None or not alone:
            share = len(reply.reasoning) / max(1, len(reply.reasoning) + len(reply.text))
            reasoned = round(written * share)
        prefill, decode = usage.prefill_seconds, usage.decode_seconds
        return Finished(
            reply.reason or Reason.STOP,
            text or reply.text,
            reply.reasoning,
            seed,
            TokenUsage(prompt, cached, prompt - cached, written, min(reasoned, written)),
            Timings(
                0.0,
                first - self._started if prefill is None else prefill,
                last - first if decode is None else decode,
            ),
            log_probability=reply.log_probability,
        )

    def _told(self, request: ChatRequest, redaction: OutgoingRedaction) -> Iterator[Notice]:
        """How many values were replaced, where it is another number than before."""
        calls = (call.arguments for each in request.messages for call in each.tool_calls)
        count = redaction.count(*(each.content for each in request.messages), *calls)
        if redaction.is_news(count):
            text = trn(
                "{count:,} value is replaced by a placeholder in what goes to {host}",
                "{count:,} values are replaced by placeholders in what goes to {host}",
                count,
                host=self._connection.server.host,
            )
            yield Notice("redaction", text)

    def _require_whole(self, is_marked: bool, skipped: Container[int]) -> None:
        """Refuse a stream that ends without the end of each reply.

        Some servers tell no end of a reply: there the mark of the stream's end will do.
        """
        replies = [each for index, each in self.replies.items() if index not in skipped]
        if all(each.reason for each in replies):
            return
        has_all = all(each.text or each.reasoning or each.calls for each in replies)
        if not (is_marked and has_all and not self._description.kind.tells_end):
            raise cut_error(self._connection.server)

    def _items_of(self, chunk: object, skipped: Container[int]) -> Iterator[TurnItem]:
        server = self._connection.server
        if not isinstance(chunk, Mapping):
            return
        if chunk.get("error"):
            raise stream_error(server, chunk["error"], key=self._connection.key)
        self.usage.update(chunk)
        yield from self._progress(chunk.get("prompt_progress"))
        for choice in _choices(chunk):
            index = choice.get("index", 0)
            reply = self.replies.get(index) if type(index) is int else None
            if reply is None or index in skipped:
                continue
            try:
                events = reply.feed(choice)
            except ReplyTooLong:
                raise ServerError(
                    tr("{name} sends more than a reply can have", name=server.name),
                    tr("what was written is kept"),
                ) from None
            if events and not self._first:
                yield from self._prefilled()
            if events:
                self._last = time.perf_counter()
            yield from ((index, event) for event in events)

    def _prefilled(self) -> Iterator[PromptProgress]:
        self._first = self._last = time.perf_counter()
        yield PromptProgress(self._total, self._total, 0)

    def _progress(self, found: object) -> Iterator[PromptProgress]:
        """How far the prompt is processed, as llama.cpp tells it."""
        if isinstance(found, Mapping):
            done, total, reused = (found.get(name) for name in ("processed", "total", "cache"))
            if type(done) is int and type(total) is int and 0 <= done <= total:
                reused = reused if type(reused) is int and 0 <= reused <= done else 0
                self._total = total
                yield PromptProgress(done, total, reused)


def _choices(chunk: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    choices = chunk.get("choices")
    found = choices if isinstance(choices, list) else []
    return [each for each in found if isinstance(each, Mapping)]
