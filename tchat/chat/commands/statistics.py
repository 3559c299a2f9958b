"""What `/stats` tells of the open session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tchat.chat.commands.lookup import active_branch
from tchat.errors import UsageError
from tchat.humanize import rate_text
from tchat.translation import tr, trn

if TYPE_CHECKING:
    from tchat.chat.commands.command import CommandHost


async def show_statistics(host: CommandHost, _: str) -> None:
    """Show how many tokens the replies of the session took, and how long."""
    from tchat.engine.events import Timings

    replies = [each for each in await active_branch(host) if each.role == "assistant"]
    if not replies:
        raise UsageError(tr("there is no reply yet"), tr("send a prompt first"))
    written = sum(each.usage.get("completion", 0) for each in replies)
    seconds = sum(each.timings.get("write", 0.0) for each in replies)
    read = sum(each.usage.get("read", 0) for each in replies)
    reused = sum(each.usage.get("reused", 0) for each in replies)
    facts = [
        trn("{count:,} reply", "{count:,} replies", sum(not each.tool_calls for each in replies)),
        tr(
            "{tokens} written in {seconds:.1f} s",
            tokens=trn("{count:,} token", "{count:,} tokens", written),
            seconds=seconds,
        ),
        trn("{count:,} token read", "{count:,} tokens read", read),
        tr("{tokens:,} reused from the KV cache", tokens=reused),
    ]
    if calls := sum(len(each.tool_calls) for each in replies):
        facts.append(trn("{count:,} tool call", "{count:,} tool calls", calls))
    if rate := Timings.rate(written, seconds):
        facts.insert(2, rate_text(rate))
    host.show("; ".join(facts))
