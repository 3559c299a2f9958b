"""The picker of named prompt templates."""

from __future__ import annotations

from collections.abc import Sequence

from tchat.chat.templates import PromptTemplate
from tchat.sanitize import single_line
from tchat.tui.dialogs.picker import Picker
from tchat.tui.widgets.fuzzy_item import Item

SHOWN = 240  # characters of a template that are shown below the list
NOTHING = "There is no prompt template; `tchat prompts new NAME` makes one."


class TemplatePicker(Picker):
    """Prompt templates; it ends with the name of the one chosen."""

    def __init__(self, templates: Sequence[PromptTemplate]) -> None:
        super().__init__("Prompt templates", [_item(each) for each in templates], empty=NOTHING)


def _item(template: PromptTemplate) -> Item:
    return Item(
        key=template.name,
        title=template.name,
        columns=("" if template.is_builtin else "yours", single_line(template.description)),
        also=f"{template.description} {' '.join(template.variables)}",
        about=single_line(template.prompt, SHOWN),
    )
