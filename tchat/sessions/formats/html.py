"""Sessions as one HTML file to read and to pass on: it loads nothing and runs nothing.

All text is escaped, HTML in it included. A content security policy allows this style sheet alone;
pictures, which would tell their server who reads, become links.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tchat.sanitize import printable, revealed, single_line
from tchat.sessions.formats.format import ExportFormat
from tchat.sessions.formats.markdown import heading_of
from tchat.sessions.records import Message, Role, Session
from tchat.sessions.serialization import json_of
from tchat.translation import N_

if TYPE_CHECKING:
    from tchat.sessions.formats.format import SessionReader

_STYLE = """
:root { color-scheme: light dark; --rule: #8884; --user: #0969da; --model: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --user: #79b8ff; --model: #7ee787; } }
body { margin: 2rem auto; padding: 0 1rem; max-width: 46rem; line-height: 1.55;
  font-family: system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { line-height: 1.2; margin-bottom: 0; }
.facts, footer { opacity: .7; font-size: .9rem; }
section { border-top: 1px solid var(--rule); padding: .25rem 0; }
section > h2 { font-size: .9rem; margin: .5rem 0; }
.user > h2 { color: var(--user); }
.assistant > h2 { color: var(--model); }
pre, code { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid var(--rule); border-radius: .4rem; }
blockquote, details { border-left: 3px solid var(--rule); margin-left: 0; padding-left: 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border: 1px solid var(--rule); padding: .25rem .6rem; }
.center { text-align: center; }
.right { text-align: right; }
article + article { margin-top: 4rem; }
"""
_SHOWN = 200  # characters of a title

Render = Callable[[str], str]


def _export(
    store: SessionReader, sessions: Iterable[Session], *, show_reasoning: bool
) -> Iterator[str]:
    listed = list(sessions)
    render = _renderer()
    yield _head(listed)
    if len(listed) > 1:
        yield "<nav><ul>\n"
        for number, session in enumerate(listed, 1):
            yield f'<li><a href="#s{number}">{_title(session)}</a></li>\n'
        yield "</ul></nav>\n"
    for number, session in enumerate(listed, 1):
        yield from _session(store, session, number, render, show_reasoning)
    yield "</body>\n</html>\n"


def _head(sessions: list[Session]) -> str:
    import base64
    import hashlib

    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = _title(sessions[0]) if len(sessions) == 1 else "Sessions of tchat"
    return (
        '<!DOCTYPE html>\n<html>\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f'<meta name="generator" content="tchat">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n"
    )


def _session(
    store: SessionReader, session: Session, number: int, render: Render, show_reasoning: bool
) -> Iterator[str]:
    created = datetime.fromtimestamp(session.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    models = (single_line(model) for model in store.branch_models(session.id) if model)
    facts = _escaped(", ".join([session.id, created, *models]))
    yield f'<article id="s{number}">\n<h1>{_title(session)}</h1>\n<p class="facts">{facts}</p>\n'
    if session.system:
        yield f'<section class="system">\n<h2>System</h2>\n{render(session.system)}</section>\n'
    for message in store.walk(session.id):
        yield _message(message, render, show_reasoning)
    yield "</article>\n"


def _message(message: Message, render: Render, show_reasoning: bool) -> str:
    heading = (
        f'<section class="{message.role}">\n<h2>{_escaped(printable(heading_of(message)))}</h2>\n'
    )
    if message.role is Role.TOOL:
        size = f"{len(message.text):,} characters"
        text = f"<details><summary>{size}</summary>\n{_code(message.text)}</details>\n"
        return f"{heading}{text}</section>\n"
    reasoning = ""
    if show_reasoning and message.reasoning:
        folded = render(message.reasoning)
        reasoning = f"<details><summary>Reasoning</summary>\n{folded}</details>\n"
    calls = "".join(
        _code(f"{single_line(call.name)} {json_of(call.arguments)}") for call in message.tool_calls
    )
    return f"{heading}{reasoning}{render(message.text)}{calls}</section>\n"


def _code(text: str) -> str:
    """What a tool gave or got: nothing in it is Markdown, and no character of it is hidden."""
    return f"<pre><code>{_escaped(revealed(text))}</code></pre>\n"


def _title(session: Session) -> str:
    return _escaped(single_line(session.title, _SHOWN) or session.id)


def _escaped(text: str) -> str:
    from html import escape  # here, because it brings a table of 2,000 entities

    return escape(text)


def _renderer() -> Render:
    """Render Markdown to HTML; HTML in it is text, and links lead to the web or by mail only."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.validateLink = lambda url: url.lower().startswith(  # type: ignore[method-assign]
        ("https://", "http://", "mailto:", "#")
    )

    def render(text: str) -> str:
        tokens = parser.parse(printable(text))
        _tame(tokens)
        return str(parser.renderer.render(tokens, parser.options, {}))

    return render


def _tame(tokens: Iterable[Any]) -> None:
    """Turn pictures into links, and alignments into classes, which the policy allows."""
    for token in tokens:
        if style := token.attrs.pop("style", None):
            token.attrs["class"] = str(style).rpartition(":")[2]
        if token.type == "link_open":
            token.attrs["rel"] = "noopener noreferrer nofollow"
        if token.type == "inline" and token.children:
            token.children = list(_without_pictures(token.children))
            _tame(token.children)


def _without_pictures(tokens: Iterable[Any]) -> Iterator[Any]:
    from markdown_it.token import Token

    for token in tokens:
        if token.type != "image":
            yield token
            continue
        yield Token("link_open", "a", 1, attrs={"href": token.attrs.get("src", "")})
        yield Token("text", "", 0, content=token.content or str(token.attrs.get("src", "")))
        yield Token("link_close", "a", -1)


HTML = ExportFormat("html", N_("One HTML file, to read and pass on"), (".html", ".htm"), _export)
