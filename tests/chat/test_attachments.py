"""Files in front of a prompt, and taken apart again to be shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tchat.chat.attachments import Attachment, parted, with_attachments

NAMES = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=12)
TEXTS = st.text("a`\n #", max_size=40)


@given(st.lists(st.tuples(NAMES, TEXTS), max_size=3), st.sampled_from(["", "why?", "a\n\nb"]))
def test_what_was_put_in_front_is_told_from_the_prompt(
    files: list[tuple[str, str]], prompt: str
) -> None:
    whole = with_attachments(prompt, [Attachment(*file) for file in files])
    assert parted(whole) == ([name for name, _ in files], prompt)


def test_a_prompt_that_only_speaks_of_a_file_is_left_alone() -> None:
    for prompt in (
        "File a.txt: what is it?",
        "File a.txt:\n```\nno end",
        "See File a:\n```\nx\n```",
    ):
        assert parted(prompt) == ([], prompt)
