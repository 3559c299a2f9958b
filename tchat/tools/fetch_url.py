"""The tool ``fetch_url``: the text of a page on the internet."""

from __future__ import annotations

from tchat.decoding import AUTO, decode
from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.tools.http_fetch import HttpFetcher, HttpPage
from tchat.tools.outgoing import OutgoingArguments, redact_url
from tchat.tools.page_text import page_text
from tchat.tools.programs import shortened
from tchat.tools.tool import Arguments, Effect, Tool, ToolError, object_schema
from tchat.translation import tr

_TEXT = ("application/json", "application/xml", "application/javascript", "application/x-yaml")
_HTML = ("text/html", "application/xhtml+xml")


def fetch_url_tool(fetcher: HttpFetcher) -> Tool:
    """The tool, fetching with ``fetcher``."""

    def run(arguments: Arguments) -> str:
        page = fetcher.fetch(arguments["url"])
        note = f"[Status {page.status}.]\n" if page.status >= 400 else ""
        return note + shortened(_text(page)) + ("\n[The page was cut.]" if page.is_cut else "")

    return Tool(
        name="fetch_url",
        description="Fetch a public web page or text over http or https and return its text.",
        parameters=object_schema(("url",), url={"type": "string", "maxLength": 4096}),
        run=run,
        effects=frozenset({Effect.NETWORK}),
        is_untrusted=True,
        outgoing=OutgoingArguments(redact_url),
    )


def _text(page: HttpPage) -> str:
    kind = page.media_type
    is_html = kind in _HTML
    if not (
        is_html or kind.startswith("text/") or kind in _TEXT or kind.endswith(("+json", "+xml"))
    ):
        raise ToolError(
            tr("{url} is no text but {kind}", url=single_line(page.url), kind=single_line(kind)),
            tr("name a page or a text"),
        )
    text = _decoded(page)
    return page_text(text) if is_html else text


def _decoded(page: HttpPage) -> str:
    """The text in the encoding that the server says, else in the one that it seems to have."""
    for encoding in filter(None, (page.encoding, AUTO)):
        try:
            return decode(page.data, single_line(page.url), encoding).text
        except UsageError:
            continue
    return page.data.decode(errors="replace")
