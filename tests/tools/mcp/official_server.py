"""A server of the official package, over stdio or (with a port) streamable HTTP."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import anyio
from mcp.server.elicitation import AcceptedElicitation, ElicitationResult
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve, Sample
from mcp_types import CreateMessageResult, SamplingMessage, TextContent, ToolAnnotations
from pydantic import BaseModel, Field

server = MCPServer("official")


class Booking(BaseModel):
    date: str = Field(description="When")
    seats: int = Field(default=2, ge=1, le=9)
    window: bool = False


def ask_booking() -> Elicit[Booking]:
    return Elicit("Which table?", Booking)


def ask_model() -> Sample:
    message = SamplingMessage(role="user", content=TextContent(type="text", text="Name a fruit"))
    return Sample([message], max_tokens=20, system_prompt="Be short")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@server.tool()
def environment() -> str:
    """The variables of the server."""
    return "\n".join(f"{name}={value}" for name, value in sorted(os.environ.items()))


@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("no such table")


@server.tool()
async def slow(ctx: Context, steps: int = 3) -> str:
    """Take a while."""
    for step in range(steps):
        await ctx.report_progress(step, steps, f"step {step}")
        await anyio.sleep(0.05)
    return "done"


@server.tool()
async def for_ever() -> str:
    """Never answer; says on standard error when it is cancelled."""
    try:
        await anyio.sleep(3600)
    except anyio.get_cancelled_exc_class():
        sys.stderr.write("for_ever was cancelled\n")
        sys.stderr.flush()
        raise
    return ""


@server.tool()
def book(booking: Annotated[ElicitationResult[Booking], Resolve(ask_booking)]) -> str:
    """Book a table."""
    if isinstance(booking, AcceptedElicitation):
        return f"booked {booking.data.date} for {booking.data.seats}"
    return f"not booked: {booking.action}"


@server.tool()
def ask(reply: Annotated[CreateMessageResult, Resolve(ask_model)]) -> str:
    """Ask the model of the user."""
    assert isinstance(reply.content, TextContent)
    return f"the model said {reply.content.text}"


@server.tool()
async def grow(ctx: Context) -> str:
    """Add a tool."""
    server.add_tool(lambda: "new", name="grown", description="Was not there before")
    await ctx.notify_tools_changed()
    return "grown"


@server.resource("memo://today", mime_type="text/plain")
def today() -> str:
    """The memo of today."""
    return "Buy milk"


@server.resource("memo://{day}/all")
def memos(day: str) -> str:
    """All memos of a day."""
    return f"Nothing on {day}"


@server.prompt()
def review(language: str, tone: str = "kind") -> str:
    """Review code."""
    return f"Review this {language} in a {tone} tone."


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        sys.stderr.write("official server \x1b[31mstarts\x1b[0m\n")
        server.run("stdio")
