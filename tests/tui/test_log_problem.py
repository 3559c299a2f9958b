"""What the model picker says where requests cannot be logged."""

from __future__ import annotations

from tchat.tui.dialogs.models import ModelPicker

from .session_service import ROWS, FakeModelService
from .stage import shown, text, until


async def test_it_is_told_once_that_a_search_is_not_logged() -> None:
    files = FakeModelService()
    async with shown(ModelPicker(ROWS, files)) as (app, pilot):
        await pilot.press(*"mistral")
        await until(pilot, lambda: "Search the hub for mistral" in text(app))
        files.log_problem = "what leaves this machine is not logged"
        await pilot.press("enter")
        await until(pilot, lambda: "acme/x" in text(app))
        assert [each.message for each in app._notifications] == [
            "what leaves this machine is not logged"
        ]
