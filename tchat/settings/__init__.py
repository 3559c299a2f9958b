"""Every setting, declared once: its type, default, bounds and help text live on the field.

A value comes from the first of these that names it: the flag typed, the environment
(``TCHAT_TEMP``), ``config.toml`` (``[sampling] temp``), the default. Names are unique across
sections, so ``tchat config set temp 0.2``, ``-o temp 0.2`` and ``--temp 0.2`` mean the same.
Those of the table ``[tools]`` are named with it: ``tools.allow``.

::

    schema.py   the declarations: Settings, Sampling and Tools
    keys.py     each setting as data; parsing and checking values
    load.py     defaults < config.toml < TCHAT_* < flags; writing config.toml keeps comments
"""

from tchat.settings.keys import (
    Key,
    Value,
    find_key,
    former_names,
    keys,
    needs_loading,
    renamed,
    spell,
    with_values,
)
from tchat.settings.load import Loaded, load
from tchat.settings.schema import Sampling, Settings, Tools, setting

__all__ = [
    "Key",
    "Loaded",
    "Sampling",
    "Settings",
    "Tools",
    "Value",
    "find_key",
    "former_names",
    "keys",
    "load",
    "needs_loading",
    "renamed",
    "setting",
    "spell",
    "with_values",
]
