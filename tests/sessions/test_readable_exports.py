"""Export to HTML, which runs and loads nothing, and to the messages of the OpenAI API."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tchat.sessions.formats import HTML, OPENAI_MESSAGES_FORMAT
from tchat.sessions.records import Role, Session, Status
from tchat.sessions.store import SessionStore, Store
from tests.sessions.stores import new_session

TAGS = {
    *("html", "head", "meta", "title", "style", "body", "nav", "article", "section", "h1", "h2"),
    *("h3", "h4", "h5", "h6", "p", "pre", "code", "em", "strong", "s", "blockquote", "hr", "br"),
    *("ul", "ol", "li", "a", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"),
}
ATTRIBUTES = frozenset(
    {"charset", "http-equiv", "content", "name", "href", "rel", "id", "class", "start", "title"}
)


class Page(HTMLParser):
    """The elements, the addresses and the text of a page; fails for what has no place in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.text = ""
        self.style = ""
        self.policy = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        found = dict(attrs)
        assert found.keys() <= ATTRIBUTES, attrs
        self._open.append(tag)
        if "href" in found:
            self.addresses.append(str(found["href"]))
        if found.get("http-equiv"):
            self.policy = str(found["content"])

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["style"]:
            self.style += data
        else:
            self.text += data


def page_of(store: Store, *sessions: Session, show_reasoning: bool = False) -> Page:
    return Page("".join(HTML.export(store, sessions, show_reasoning=show_reasoning)))


def said(store: Store, text: str, *, title: str = "", system: str = "") -> Session:
    session = new_session(store, title=title, system=system)
    asked = store.add(session.id, Role.USER, text, parent_id=None)
    store.add(
        session.id,
        Role.ASSISTANT,
        f"reply {text}",
        parent_id=asked.id,
        reasoning="thought",
        model="starter",
        status=Status.STOPPED,
    )
    return store.get(session.id)


HOSTILE = [
    "<script>alert(1)</script>",
    "</style><script>x</script>",
    "</title><img src=x onerror=alert(1)>",
    "[x](javascript:alert(1)) [y](data:text/html,x) [z](file:///etc/passwd)",
    "![p](https://tracker.example/a.png) <https://a.example>",
    '[a](https://b.example "t\\" onclick=\\"x")',
    "<iframe src=//x>\n\n<svg onload=x>",
    "\x1b]52;c;x\x07 \u202eabc \x00",
    '```html"><script>\n</code></pre><script>\n```',
    "| a |\n|--:|\n| <b onclick=x> |",
    "&lt;b&gt; &#x3c;script&#x3e;",
    "> " * 200 + "deep",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_page_runs_and_loads_nothing(store: SessionStore, text: str) -> None:
    page = page_of(store, said(store, text, title=text, system=text), show_reasoning=True)
    assert all(re.match(r"https?://", address) for address in page.addresses)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", page.text)
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert page.policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")


@settings(max_examples=60)
@given(st.text(max_size=60) | st.lists(st.sampled_from(HOSTILE), max_size=3).map(" ".join))
def test_no_text_breaks_out(text: str) -> None:
    with SessionStore.in_memory() as store:
        page_of(store, said(store, text, title=text), show_reasoning=True)


def test_a_page_shows_what_was_said(store: SessionStore) -> None:
    session = said(store, "**Why** is <b> blue?", title="Sky", system="Be brief.")
    page = page_of(store, session)
    for text in ("Sky", "Be brief.", "Why is <b> blue?", "starter", "Assistant (stopped)"):
        assert text in page.text
    assert "thought" not in page.text
    assert "thought" in page_of(store, session, show_reasoning=True).text
    assert "<strong>Why</strong>" in "".join(HTML.export(store, [session], show_reasoning=False))


def test_several_sessions_have_a_list(store: SessionStore) -> None:
    page = page_of(store, said(store, "a", title="One"), said(store, "b", title="Two"))
    assert page.addresses == ["#s1", "#s2"]
    assert page.text.count("Two") == 2


def test_messages_are_what_the_api_takes(store: SessionStore) -> None:
    first, second = said(store, "a", title="One", system="Be brief."), said(store, "b")
    text = "".join(OPENAI_MESSAGES_FORMAT.export(store, [first, second], show_reasoning=False))
    one, two = map(json.loads, text.splitlines())
    assert one["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "reply a"},
    ]
    assert (one["title"], one["model"], one["id"]) == ("One", "starter", first.id)
    assert len(two["messages"]) == 2
    shown = "".join(OPENAI_MESSAGES_FORMAT.export(store, [second], show_reasoning=True))
    assert json.loads(shown)["messages"][1]["reasoning_content"] == "thought"
