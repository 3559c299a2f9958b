"""Several servers that answer prompts together."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Protocol

import pytest

from tchat.engine.batch import BatchOptions, BatchResult, BatchTask
from tchat.engine.binding import Cancel
from tchat.engine.events import Finished, Notice
from tchat.engine.prompt import ChatMessage
from tchat.errors import ModelNotFound, PromptTooLong, UsageError
from tchat.servers.backend import ServerBackend
from tchat.servers.config import Server, ServerModel
from tchat.servers.errors import ServerError
from tchat.servers.pool import PooledServer, PoolItem, ServerPool
from tchat.settings import Sampling
from tests.egress.user_log import user_log
from tests.servers.asking import backend_of
from tests.servers.fake_server import (
    Answer,
    FakeServer,
    Seen,
    json_answer,
    models,
    piece,
    reply,
    serving,
    sse,
)

CUT = Answer(sse(piece("It"), done=False), cut=True)
TOO_LONG = json_answer({"error": {"message": "maximum context length is 9 tokens"}}, 400)
SAMPLING = Sampling(temp=0.0, seed=5)


def row_of(seen: Seen) -> str:
    text: str = seen.body["messages"][-1]["content"]
    return text


def echo(seen: Seen) -> Answer:
    return reply(f"re: {row_of(seen)}")


class Queued:
    """Answers one request at a time, each in ``seconds``; ``most`` were there at once."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.most = self._now = 0
        self._turn, self._count = threading.Lock(), threading.Lock()

    def __call__(self, seen: Seen) -> Answer:
        with self._count:
            self._now += 1
            self.most = max(self.most, self._now)
        with self._turn:
            time.sleep(self.seconds)
        with self._count:
            self._now -= 1
        return echo(seen)


@pytest.fixture
def fakes() -> Iterator[list[FakeServer]]:
    with ExitStack() as stack:
        found = [stack.enter_context(serving()) for _ in range(2)]
        for fake in found:
            fake.chat(echo)
        yield found


class PoolOf(Protocol):
    def __call__(
        self, urls: list[str], cancel: Cancel = ..., in_flight: int = ..., kind: str = ...
    ) -> ServerPool: ...


@pytest.fixture
def pool_of() -> Iterator[PoolOf]:
    """Makes a pool of the servers at these URLs."""
    with ExitStack() as stack:

        def make(
            urls: list[str], cancel: Cancel | None = None, in_flight: int = 0, kind: str = ""
        ) -> ServerPool:
            cancel, made = cancel or Cancel(), []
            for name, url in zip("ab", urls, strict=False):
                server = Server(name, url, ctx_size=4096, kind=kind)
                backend = ServerBackend(ServerModel(server, ""), "", user_log(), cancel)
                backend._connection.pause = lambda attempt: 0.01
                made.append(PooledServer(backend, SAMPLING))
            pool = ServerPool(made, cancel, in_flight, pause=0.02)
            stack.callback(pool.close)
            return pool

        yield make


def tasks(count: int) -> list[BatchTask]:
    def asking(index: int) -> Callable[[], list[ChatMessage]]:
        return lambda: [ChatMessage("user", f"row {index}")]

    return [BatchTask(index, asking(index)) for index in range(count)]


def run(pool: ServerPool, count: int) -> list[PoolItem]:
    opened = list(pool.open())
    return [*opened, *pool.results(tasks(count), BatchOptions(sampling=SAMPLING))]


def texts(items: list[PoolItem]) -> dict[int, str]:
    found = {}
    for item in items:
        if isinstance(item, BatchResult):
            assert isinstance(item.result, Finished), item.result
            assert item.index not in found
            found[item.index] = item.result.text
    return found


def told(items: list[PoolItem]) -> list[str]:
    return [item.text for item in items if isinstance(item, Notice)]


def whole(count: int) -> dict[int, str]:
    return {index: f"re: row {index}" for index in range(count)}


def test_each_row_is_asked_once_as_if_asked_alone(fakes: list[FakeServer], pool_of: PoolOf) -> None:
    items = run(pool_of([fake.url for fake in fakes]), 30)
    assert texts(items) == whole(30)
    assert told(items) == []
    bodies = [body for fake in fakes for body in fake.bodies()]
    assert len(bodies) == 30
    assert all(fake.bodies() for fake in fakes)
    with closing(backend_of(fakes[0])) as alone:
        list(alone.generate([ChatMessage("user", "row 7")], Sampling(temp=0.0, seed=12)))
    assert fakes[0].bodies()[-1] in bodies, "row 7 with its own seed, 5 + 7"


@pytest.mark.parametrize("wanted", [2, 9])
def test_no_server_has_more_in_flight_than_wanted(
    fakes: list[FakeServer], pool_of: PoolOf, wanted: int
) -> None:
    queued = [Queued(0.002), Queued(0.002)]
    for fake, chat in zip(fakes, queued, strict=True):
        fake.chat(chat)
    assert texts(run(pool_of([fake.url for fake in fakes], in_flight=wanted), 60)) == whole(60)
    assert all(each.most <= wanted for each in queued)
    assert max(each.most for each in queued) > 1


def test_a_server_that_cannot_do_two_at_a_time_gets_one(
    fakes: list[FakeServer], pool_of: PoolOf
) -> None:
    queued = Queued(0.002)
    pool = pool_of([fakes[0].url], in_flight=8, kind="llama-cpp-python")
    fakes[0].chat(queued)
    assert texts(run(pool, 10)) == whole(10)
    assert queued.most == 1


def test_a_slow_server_gets_less(fakes: list[FakeServer], pool_of: PoolOf) -> None:
    fakes[0].chat(Queued(0.01))
    fakes[1].chat(Queued(0.3))
    pool = pool_of([fake.url for fake in fakes], in_flight=2)
    assert texts(run(pool, 60)) == whole(60)
    fast, slow = pool.servers
    assert fast.answered > 2 * slow.answered


def test_a_server_that_dies_is_told_once_and_its_rows_go_to_the_other(
    fakes: list[FakeServer], pool_of: PoolOf
) -> None:
    dying, other = fakes
    seen_by_dying: list[str] = []

    def die(seen: Seen) -> Answer:
        seen_by_dying.append(row_of(seen))
        if len(seen_by_dying) < 4:
            return echo(seen)
        dying.put("/v1/models", CUT)
        return CUT

    dying.chat(die)
    other.chat(Queued(0.01))
    items = run(pool_of([fake.url for fake in fakes], in_flight=3), 40)
    assert texts(items) == whole(40)
    assert len(told(items)) == 1
    assert "a was cut; the other servers go on without it" in told(items)[0]
    asked = [row_of(seen) for fake in fakes for seen in fake.seen if seen.body]
    assert len(asked) <= 40 + 3, "only what was in flight there is asked again"


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100))
def test_a_server_that_dies_anywhere_loses_nothing(
    seed: int, fakes: list[FakeServer], pool_of: PoolOf
) -> None:
    drawn = random.Random(seed)
    dying, other = fakes
    left = drawn.randrange(30)
    lock = threading.Lock()

    def die(seen: Seen) -> Answer:
        nonlocal left
        with lock:
            left -= 1
        if left >= 0:
            return echo(seen)
        dying.put("/v1/models", CUT)
        whole_answer = list(echo(seen).body)
        return Answer(whole_answer[: drawn.randrange(len(whole_answer))], cut=True)

    dying.chat(die)
    other.chat(Queued(0.003))
    items = run(pool_of([fake.url for fake in fakes], in_flight=4), 40)
    assert texts(items) == whole(40)
    assert len(told(items)) == (left < 0)


def test_a_server_that_is_back_gets_rows_again(fakes: list[FakeServer], pool_of: PoolOf) -> None:
    flaky, other = fakes
    flaky.chat(CUT, echo)
    flaky.put("/v1/models", models("tiny"), CUT, models("tiny"))
    other.chat(Queued(0.02))
    pool = pool_of([fake.url for fake in fakes], in_flight=1)
    items = run(pool, 40)
    assert texts(items) == whole(40)
    assert told(items)[-1] == "a is back"
    assert pool.servers[0].answered > 0


def test_a_server_that_is_not_there_at_first_comes_later(
    fakes: list[FakeServer], pool_of: PoolOf
) -> None:
    late, other = fakes
    late.put("/v1/models", CUT, CUT, models("tiny"))
    other.chat(Queued(0.02))
    pool = pool_of([fake.url for fake in fakes])
    items = run(pool, 40)
    assert texts(items) == whole(40)
    assert len(told(items)) == 2
    assert pool.servers[0].answered > 0


def test_nothing_is_lost_when_no_server_is_left(fakes: list[FakeServer], pool_of: PoolOf) -> None:
    for fake in fakes:
        fake.chat(echo, CUT)
        fake.put("/v1/models", models("tiny"), CUT)
    pool = pool_of([fake.url for fake in fakes], in_flight=1)
    items: list[PoolItem] = list(pool.open())
    with pytest.raises(ServerError, match="no server is left: ") as caught:
        items.extend(pool.results(tasks(20), BatchOptions(sampling=SAMPLING)))
    assert len(texts(items)) <= 2
    assert "run it again" in str(caught.value)


def test_no_server_answers_at_all(pool_of: PoolOf) -> None:
    pool = pool_of(["http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1"])
    with pytest.raises(ServerError, match=r"cannot reach 127\.0\.0\.1:9"):
        list(pool.open())


def test_a_model_that_one_does_not_have_is_refused(
    fakes: list[FakeServer], pool_of: PoolOf
) -> None:
    fakes[1].put("/v1/models", models("x", "y"))
    with pytest.raises(ModelNotFound, match="b has 2 models"):
        list(pool_of([fake.url for fake in fakes]).open())


def test_a_row_that_fails_everywhere_is_tried_three_times(
    fakes: list[FakeServer], pool_of: PoolOf
) -> None:
    def fail(seen: Seen) -> Answer:
        bad = row_of(seen) == "row 2"
        return json_answer({"error": {"message": "it broke"}}, 500) if bad else echo(seen)

    for fake in fakes:
        fake.chat(fail)
    items = run(pool_of([fake.url for fake in fakes]), 8)
    (failed,) = [item for item in items if getattr(item, "index", None) == 2]
    assert isinstance(failed, BatchResult)
    assert isinstance(failed.result, ServerError)
    assert "it broke" in str(failed.result)
    assert texts([item for item in items if item is not failed]) == {
        index: text for index, text in whole(8).items() if index != 2
    }
    assert told(items) == [], "the servers themselves are well"
    asked = [row_of(seen) for fake in fakes for seen in fake.seen if seen.body]
    assert asked.count("row 2") == 3


def test_a_row_that_one_server_cannot_take_goes_to_the_other(
    fakes: list[FakeServer], pool_of: PoolOf
) -> None:
    fakes[0].chat(TOO_LONG)
    assert texts(run(pool_of([fake.url for fake in fakes], in_flight=2), 20)) == whole(20)


def test_a_row_that_no_server_can_take_fails_at_once(
    fakes: list[FakeServer], pool_of: PoolOf
) -> None:
    fakes[0].chat(TOO_LONG)
    (item,) = run(pool_of([fakes[0].url]), 1)
    assert isinstance(item, BatchResult)
    assert isinstance(item.result, PromptTooLong)
    assert len(fakes[0].bodies()) == 1


def test_a_row_that_cannot_be_made_is_sent_nowhere(
    fakes: list[FakeServer], pool_of: PoolOf
) -> None:
    def broken() -> list[ChatMessage]:
        raise UsageError("row 0 is broken")

    pool = pool_of([fake.url for fake in fakes])
    list(pool.open())
    (item,) = pool.results([BatchTask(0, broken)], BatchOptions(sampling=SAMPLING))
    assert isinstance(item, BatchResult)
    assert isinstance(item.result, UsageError)
    assert not any(fake.bodies() for fake in fakes)


def test_a_busy_server_is_asked_again(fakes: list[FakeServer], pool_of: PoolOf) -> None:
    for fake in fakes:
        fake.chat(json_answer({}, 429, retry_after="0"), json_answer({}, 503), echo)
    assert texts(run(pool_of([fake.url for fake in fakes]), 10)) == whole(10)


def test_it_stops_at_once(fakes: list[FakeServer], pool_of: PoolOf) -> None:
    cancel, hold = Cancel(), threading.Event()
    for fake in fakes:
        fake.chat(Answer(sse(piece("It"), done=False), hold=hold))
    pool = pool_of([fake.url for fake in fakes], cancel)
    list(pool.open())
    threading.Timer(0.1, cancel.set).start()
    assert list(pool.results(tasks(20), BatchOptions(sampling=SAMPLING))) == []
    hold.set()


def test_a_reader_that_goes_ends_what_is_in_flight(
    fakes: list[FakeServer], pool_of: PoolOf
) -> None:
    cancel, hold = Cancel(), threading.Event()
    fakes[1].chat(Answer(sse(piece("It"), done=False), hold=hold))
    pool = pool_of([fake.url for fake in fakes], cancel)
    list(pool.open())
    results = pool.results(tasks(20), BatchOptions(sampling=SAMPLING))
    next(results)
    results.close()
    assert cancel.is_set()
    hold.set()
