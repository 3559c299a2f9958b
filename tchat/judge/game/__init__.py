"""The adversarial game: a discriminator learns, and the frozen generator is steered to fool it.

This is the one door of the package: make an `AdversarialGame` of a loaded engine and iterate
`AdversarialGame.play`. It yields `GameEvent`, the last of which is a `GameResult`.
"""

from tchat.judge.game.adversarial_game import AdversarialGame, GameConfig, GameEvent, GameResult
from tchat.judge.game.game_state import GameRound, GameState, StepProgress
from tchat.judge.game.report import horizontal_bar, read_report, sparkline

__all__ = [
    "AdversarialGame",
    "GameConfig",
    "GameEvent",
    "GameResult",
    "GameRound",
    "GameState",
    "StepProgress",
    "horizontal_bar",
    "read_report",
    "sparkline",
]
