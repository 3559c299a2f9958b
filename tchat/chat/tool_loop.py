"""The tools of a chat, and the loop of a turn that calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tchat.tools.executor import ToolExecutor
    from tchat.tools.syntaxes import ToolChoice

MAX_STEPS = 10  # replies of one turn that may call tools


@dataclass(frozen=True, slots=True)
class ChatTools:
    """The tools that a chat offers its model.

    Attributes:
        executor: Runs their calls.
        names: The tools, in the order in which the model is told of them.
        choice: Whether the model has to call one; None offers no tools.
        max_steps: Replies of one turn that may call tools.
    """

    executor: ToolExecutor
    names: tuple[str, ...]
    choice: ToolChoice | None
    max_steps: int = MAX_STEPS
