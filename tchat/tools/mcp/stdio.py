"""A server as a program: messages over its standard input and output, a line each.

The transport of the package `mcp` reads lines of any length; this one is bounded, and gives the
program nothing of tchat's environment but what programs of tools get.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import INTERNAL_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter

from tchat.tools.mcp.messages import MAX_MESSAGE, MessageStream, Pace
from tchat.tools.programs import find_program
from tchat.translation import tr

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream, Process
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from tchat.tools.mcp.config import ServerConfig
    from tchat.tools.mcp.server_log import ServerLog

MAX_NO_MESSAGES = 1000  # lines that are no messages; some servers print a greeting
CHUNKS_PER_SECOND = 256  # of 64 KB at most; a server that sends more waits
GRACE_SECONDS = 1.0  # after its input closed, and again after SIGTERM
_POLL_SECONDS = 0.02
_LONGEST_LINE = 8192  # bytes of standard error that are kept until the line ends
_EXIT_SECONDS = 0.3  # between the end of the output and that of the program
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_READ_OF_LINE = 200  # bytes at each end
_BEGINS_WITH_ID = re.compile(rb'\s*{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,15})\s*,')
_ENDS_WITH_ID = re.compile(rb'"id"\s*:\s*(\d{1,15})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?}\s*$')
_GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, OSError)


@asynccontextmanager
async def stdio_transport(
    config: ServerConfig,
    environment: Mapping[str, str],
    log: ServerLog,
    end: Callable[[str], None],
) -> AsyncIterator[tuple[MessageStream, MemoryObjectSendStream[SessionMessage]]]:
    """Start the program; yield the streams of messages from it and to it.

    Args:
        config: Without variables left in it.
        environment: Of the program.
        log: Where its standard error goes.
        end: Called with the reason when no more messages come.

    Raises:
        ToolError: There is no such program.
        OSError: It cannot be started.
    """
    program = find_program(config.command[0], environment.get("PATH", ""))
    with anyio.CancelScope(shield=True):  # broken off, it would leave the program running
        process = await anyio.open_process(
            [program, *config.command[1:]],
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=environment,
            cwd=Path(config.cwd) if config.cwd else None,
            start_new_session=True,
        )
    incoming, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, to_send = anyio.create_memory_object_stream[SessionMessage](0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read_messages, process, incoming, log, end)
        tasks.start_soon(_write_messages, process, to_send, incoming)
        tasks.start_soon(_read_log, process.stderr, log)
        try:
            yield MessageStream(received), outgoing
        finally:
            received.close()
            outgoing.close()
            with anyio.CancelScope(shield=True):
                await _end_process(process)
            tasks.cancel_scope.cancel()
            for stream in (incoming, to_send):
                stream.close()


async def _read_messages(
    process: Process,
    incoming: MemoryObjectSendStream[SessionMessage | Exception],
    log: ServerLog,
    end: Callable[[str], None],
) -> None:
    assert process.stdout is not None  # noqa: S101 - a pipe
    line, strays, reason = bytearray(), 0, ""
    pace = Pace(CHUNKS_PER_SECOND)
    async with incoming:
        with suppress(*_GONE):
            async for chunk in process.stdout:
                await pace.wait()
                *ended, rest = chunk.split(b"\n")
                for part in ended:
                    line += part
                    strays += not await _deliver(bytes(line), incoming, log)
                    line.clear()
                line += rest
                if len(line) > MAX_MESSAGE:
                    reason = tr("it sent a message of more than {most} MB", most=MAX_MESSAGE >> 20)
                    break
                if strays > MAX_NO_MESSAGES:
                    reason = tr("what it sends is no MCP")
                    break
        if reason:
            _signal(process, _KILL)
        end(reason or await _exit_text(process))


async def _exit_text(process: Process) -> str:
    """How a program ended that wrote no more."""
    await _ends(process, _EXIT_SECONDS)
    code = process.returncode
    if code is None:
        return tr("it closed its output")
    if code < 0:
        return tr("it was ended by signal {number}", number=-code)
    return tr("it ended with exit code {code}", code=code)


async def _deliver(
    line: bytes, incoming: MemoryObjectSendStream[SessionMessage | Exception], log: ServerLog
) -> bool:
    """Hand a line over; False where it is no message."""
    if not line.strip():
        return True
    try:
        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        log.add(f"no message: {line[:400].decode(errors='replace')}")
        if (request := _answered_request(line)) is not None:  # whoever waits learns it now
            told = ErrorData(code=INTERNAL_ERROR, message=tr("what it sends is no valid answer"))
            error = JSONRPCError(jsonrpc="2.0", id=request, error=told)
            await incoming.send(SessionMessage(error))
        return False
    await incoming.send(SessionMessage(message))
    return True


def _answered_request(line: bytes) -> int | None:
    """The request that a line answers which is no message; None where it shows none.

    Only its ends are read: such a line may be large, or nested without end.
    """
    begin, end = line[:_READ_OF_LINE], line[-_READ_OF_LINE:]
    if b'"method"' in begin or b'"method"' in end:
        return None
    match = _BEGINS_WITH_ID.match(begin) or _ENDS_WITH_ID.search(end)
    return int(match[1]) if match else None


async def _write_messages(
    process: Process,
    to_send: MemoryObjectReceiveStream[SessionMessage],
    incoming: MemoryObjectSendStream[SessionMessage | Exception],
) -> None:
    assert process.stdin is not None  # noqa: S101 - a pipe
    try:
        async for message in to_send:
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            await process.stdin.send(f"{text}\n".encode(errors="replace"))
    except _GONE:
        # It reads no more: whoever waits for an answer learns it now.
        await incoming.aclose()


async def _read_log(stderr: ByteReceiveStream | None, log: ServerLog) -> None:
    assert stderr is not None  # noqa: S101 - a pipe
    line = b""
    with suppress(*_GONE):
        async for chunk in stderr:
            if log.is_full:  # reading on at full speed would only take time from the model
                await anyio.sleep(_POLL_SECONDS)
                continue
            ended, newline, line = (line + chunk).rpartition(b"\n")
            if newline or len(line) > _LONGEST_LINE:
                log.add((ended or line).decode(errors="replace"))
                line = line if newline else b""
    log.add(line.decode(errors="replace"))


async def _end_process(process: Process) -> None:
    """End the program and what it started: close its input, then by signals."""
    if process.stdin is not None:
        with suppress(*_GONE):
            await process.stdin.aclose()
    if not await _ends(process):
        _signal(process, signal.SIGTERM)
        await _ends(process)
    _signal(process, _KILL)
    await _ends(process)
    # A program that left its process group may hold the pipes; nothing public closes our ends.
    transport = getattr(getattr(process, "_process", None), "_transport", None)
    if transport is not None:
        transport.close()


async def _ends(process: Process, seconds: float = GRACE_SECONDS) -> bool:
    """Whether it ends in time; `Process.wait` would also wait for whoever holds its pipes."""
    until = anyio.current_time() + seconds
    while process.returncode is None:
        if anyio.current_time() > until:
            return False
        await anyio.sleep(_POLL_SECONDS)
    return True


def _signal(process: Process, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, number)
        elif process.returncode is None:
            process.kill()
