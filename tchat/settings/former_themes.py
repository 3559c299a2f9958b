"""The themes that were renamed; their former names still work, with a notice."""

from __future__ import annotations

from types import MappingProxyType

FORMER_THEMES = MappingProxyType(
    {
        "catppuccin-like": "catppuccin-mocha",
        "dracula-like": "dracula",
        "everforest-like": "everforest",
        "gruvbox-like": "gruvbox",
        "nord-like": "nord",
        "tokyo-night-like": "tokyo-night",
    }
)


def renamed_theme(name: str) -> str:
    """The notice for a former name."""
    return f"the theme `{name}` is now called `{FORMER_THEMES[name]}`; the old name still works"
