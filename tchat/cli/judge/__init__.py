"""``tchat judge``: the discriminator of a model, and the game that steers it."""

from __future__ import annotations

from tchat.cli.group import group
from tchat.cli.judge.duelling import duel
from tchat.cli.judge.learning import examples, train
from tchat.cli.judge.listing import show
from tchat.cli.judge.scoring import score
from tchat.cli.judge.using import use

app = group("Tell whether replies read as written by a person, and learn from it.")
for command in (show, examples, train, score, duel, use):
    app.command()(command)
