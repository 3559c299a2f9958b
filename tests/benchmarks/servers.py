"""Replies through a server on loopback, against ``curl`` and a bare HTTP client to the same one."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from tests.benchmarks.peers import TCHAT
from tests.benchmarks.rows import Row, alternated, first_byte, ratio
from tests.servers.real_server import ALIAS, real_server

STREAMS = 4
TOKENS = 96  # of each stream
WORDS = 700  # of a prompt that takes seconds to read, as most prompts to a server do
CURL = ("curl", "-sN", "-H", "content-type: application/json")
QUESTION = "Write a long story about a lighthouse keeper and the sea."


def rows() -> Iterator[Row]:
    """llama-cpp-python's servers with the starter, which answer one request at a time each."""
    from tchat.models.resolve import resolve
    from tchat.paths import user_paths

    starter = resolve("starter", user_paths())
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = [
            stack.enter_context(real_server(starter, home / f"log-{number}"))
            for number in range(STREAMS)
        ]
        yield from _first_bytes(urls[0], home)
        yield _decode(urls)


def _first_bytes(url: str, home: Path) -> Iterator[Row]:
    """Each prompt begins with a number of its own: nothing of it is cached on the server."""
    environment = {**os.environ, "TCHAT_HOME": str(home)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program is compiled
    numbers = count(1)

    def question(words: int) -> str:
        return f"{next(numbers)}. Say hi.{' the sea' * (words // 2)}"

    def curl(words: int) -> float:
        body = json.dumps(_body(question(words)))
        return _settled(first_byte([*CURL, "-d", body, f"{url}/chat/completions"]))

    def command(words: int) -> float:
        call = [*TCHAT, "-m", f"{url}/{ALIAS}", question(words)]
        return _settled(first_byte(call, env=environment))

    with closing(_backend(url)) as backend:
        list(backend.load())

        def client(words: int) -> float:
            from tchat.engine.events import TextDelta
            from tchat.engine.prompt import ChatMessage
            from tchat.settings import Sampling

            asked = [ChatMessage("user", question(words))]
            started = time.perf_counter()
            with closing(backend.generate(asked, Sampling(temp=0.0))) as events:
                next(event for event in events if isinstance(event, TextDelta))
                seconds = time.perf_counter() - started
            return _settled(seconds)

        for words, what, run, reach in (
            (WORDS, "a chat that goes on", client, 1.15),
            (WORDS, "tchat as a whole process", command, 1.15),
            (0, "a chat that goes on", client, 0),
            (0, "tchat as a whole process", command, 0),
        ):
            run(words)
            mine, other = alternated(5, lambda: run(words), lambda: curl(words))  # noqa: B023
            share = ratio(mine, other)
            text = (
                f"first byte of a server, prompt of {words + 10} words, {what}, against curl "
                f"({statistics.median(other):.2f} s)"
            )
            if reach:
                yield Row(text, f"{share:.2f}x", f"<= {reach}x", share <= reach)
            else:
                yield Row(text, f"{share:.2f}x", "for comparison", reached=True)


def _settled(seconds: float) -> float:
    """``seconds``, once the server has noticed that its client is gone."""
    time.sleep(0.5)
    return seconds


def _decode(urls: Sequence[str]) -> Row:
    """All streams at once, from the same servers; their prompt is cached there."""
    with ExitStack() as stack:
        ours = [stack.enter_context(closing(_backend(url))) for url in urls]
        bare = [stack.enter_context(_bare_client()) for _ in urls]
        for backend in ours:
            list(backend.load())

        def mine() -> float:
            return _rate([partial(_ask, each) for each in ours])

        def other() -> float:
            pairs = zip(bare, urls, strict=True)
            return _rate([partial(_ask_bare, *pair) for pair in pairs])

        mine(), other()
        these, those = alternated(9, mine, other)
    share = ratio(these, those)
    what = (
        f"decode over {STREAMS} streams of servers, against a bare client "
        f"({statistics.median(those):.0f} tok/s)"
    )
    return Row(what, f"{share:.3f}x", ">= 0.97x", share >= 0.97)


def _rate(streams: Sequence[Callable[[], int]]) -> float:
    """Tokens a second of all ``streams`` at once, each of which returns its pieces."""
    found: list[int] = []
    threads = [threading.Thread(target=lambda s=each: found.append(s())) for each in streams]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(found) < len(streams):
        raise RuntimeError("a stream broke off")
    return sum(found) / (time.perf_counter() - started)


def _backend(url: str) -> Any:
    from tchat.egress.egress_log import open_egress_log
    from tchat.engine.binding import Cancel
    from tchat.paths import user_paths
    from tchat.servers.backend import ServerBackend
    from tchat.servers.config import Server, ServerModel

    model = ServerModel(Server("box", url), ALIAS)
    return ServerBackend(model, "", open_egress_log(user_paths()), Cancel())


def _ask(backend: Any) -> int:
    from tchat.engine.events import TextDelta
    from tchat.engine.prompt import ChatMessage
    from tchat.settings import Sampling

    asked = [ChatMessage("user", QUESTION)]
    events = backend.generate(asked, Sampling(temp=0.0, max_tokens=TOKENS, seed=1))
    return sum(isinstance(event, TextDelta) for event in events)


def _bare_client() -> Any:
    import httpx2

    return httpx2.Client(trust_env=False, timeout=60)


def _ask_bare(client: Any, url: str) -> int:
    """As little as a client can do: read lines, parse each, keep the text."""
    body = _body(QUESTION) | {"max_tokens": TOKENS, "seed": 1}
    texts: list[str | None] = []
    with client.stream("POST", f"{url}/chat/completions", json=body) as response:
        for line in response.iter_lines():
            data = line.removeprefix("data: ")
            if not data or data == "[DONE]":
                continue
            choices = json.loads(data)["choices"]
            texts += [choice["delta"].get("content") for choice in choices]
    return sum(map(bool, texts))


def _body(question: str) -> dict[str, Any]:
    return {
        "model": ALIAS,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
