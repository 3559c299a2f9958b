"""What `/settings` and `/models` list in the chat on lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tchat.errors import UsageError
from tchat.settings import Key, Settings, Value, find_key, keys, spell
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.paths import Paths

PAGE = 10  # settings that are told at once


def settings_page(settings: Settings, name: str) -> str:
    """The value of the setting ``name``, or a page of all: the first, or that of a number.

    Raises:
        UsageError: There is no such setting, or no such page.
    """
    if name and not name.isdecimal():
        key = find_key(name)
        return f"{key.name} = {spell(key.value_in(settings))}"
    known = list(keys().values())
    pages, page = -(-len(known) // PAGE), int(name[:9] or 1)
    if not 1 <= page <= pages:
        raise UsageError(
            tr("there is no page {page} of the settings", page=page),
            tr("the last one is {pages}", pages=pages),
        )
    shown = known[(page - 1) * PAGE :][:PAGE]
    told = tr("Page {page} of {pages}; /set NAME VALUE changes one.", page=page, pages=pages)
    if page < pages:
        told = tr(
            "Page {page} of {pages}; /settings {following} shows the next one, "
            "/set NAME VALUE changes one.",
            page=page,
            pages=pages,
            following=page + 1,
        )
    return "\n".join([*(_described(key, key.value_in(settings)) for key in shown), told])


def _described(key: Key, value: Value) -> str:
    """A setting on one line: its value, whether that is the default, and what it means."""
    spelled, meaning = spell(value), tr(key.help)
    if value == key.default:
        return tr(
            "{name} = {value} (default): {meaning}", name=key.name, value=spelled, meaning=meaning
        )
    return tr(
        "{name} = {value} (default {default}): {meaning}",
        name=key.name,
        value=spelled,
        default=spell(key.default),
        meaning=meaning,
    )


def models_to_pull(paths: Paths) -> list[str]:
    """Lines with the best models of the catalogue for this machine, and how to pull one."""
    from tchat.chat.better_model import better_model
    from tchat.models.recommendation import PURPOSES

    found = [better_model(paths, purpose=purpose) for purpose in PURPOSES]
    best = {each.full_name: f"  {each.words}" for each in found if each}
    if best:
        told = tr("`tchat models pull NAME` gets one of these, the best here:")
        best = {"": told, **best}
    return [*best.values(), tr("`tchat models catalogue` lists all that can be pulled.")]
