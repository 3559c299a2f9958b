"""``tchat judge``: train, apply and steer by classifiers of replies."""

from __future__ import annotations

from tchat.cli.app import command_group
from tchat.cli.judge.duel import duel, report, use
from tchat.cli.judge.heads import examples, score, show, train

app = command_group("Detect human-written replies, learn your preferences, and steer the model.")
for command in (show, examples, train, score, duel, report, use):
    app.command()(command)
