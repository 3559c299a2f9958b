"""``tchat judge``: the discriminator of a model, and the game that steers it."""

from __future__ import annotations

from tchat.cli.command_group import command_group
from tchat.cli.judge.duel import duel
from tchat.cli.judge.score import score
from tchat.cli.judge.show import show
from tchat.cli.judge.train import examples, train
from tchat.cli.judge.use import use

app = command_group("Detect human-written replies, learn your preferences, and steer the model.")
for command in (show, examples, train, score, duel, use):
    app.command()(command)
