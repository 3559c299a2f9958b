"""Entry point of ``python -m tchat``."""

from tchat.cli.main import run

run()
