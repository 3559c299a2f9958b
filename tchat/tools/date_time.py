"""The tool ``date_time``: the date and the time, here or in another time zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from tchat.sanitize import single_line
from tchat.tools.tool import Arguments, Tool, ToolError, object_schema
from tchat.translation import tr


def _now() -> datetime:
    return datetime.now(UTC)


def date_time_tool(now: Callable[[], datetime] = _now) -> Tool:
    """The tool, with the time of ``now``."""

    def run(arguments: Arguments) -> str:
        from zoneinfo import ZoneInfo

        name = arguments.get("time_zone", "")
        try:
            moment = now().astimezone(ZoneInfo(name) if name else None)
        except (OSError, ValueError, LookupError) as error:  # also for a name such as `../x`
            raise ToolError(
                tr("there is no time zone {name}", name=single_line(name)),
                tr("name one such as Europe/Berlin"),
            ) from error
        week = moment.isocalendar().week
        return f"{moment:%A}, {moment.isoformat(timespec='seconds')}, week {week}"

    return Tool(
        name="date_time",
        description="The current date, weekday, time and calendar week.",
        parameters=object_schema(
            time_zone={
                "type": "string",
                "maxLength": 100,
                "description": "Such as Europe/Berlin; default: the user's",
            }
        ),
        run=run,
    )
