"""How the argument of a slash command is read."""

from __future__ import annotations

import pytest

from tchat.chat.commands.command import parse_candidates, split_argument
from tchat.chat.session import parse_setting


@pytest.mark.parametrize("space", [" ", "\n", "\t", "\r\n", "\u00a0", " \n\n "])
def test_any_white_space_parts(space: str) -> None:
    assert split_argument(f"name{space}one\ntwo ") == ("name", "one\ntwo")
    assert parse_candidates(f"2{space}Say hi") == (2, "Say hi")
    assert parse_setting(*split_argument(f"temp{space}0.3")) == {"temp": 0.3}


def test_what_is_missing_is_empty() -> None:
    assert split_argument(" \n") == ("", "")
    assert split_argument("name\n") == ("name", "")
