"""Names of models on the hub: ``user/repo``, ``user/repo:QUANT``, ``hf.co/…``, and file URLs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from tchat.models.files import has_gguf_ending

HOSTS = frozenset({"hf.co", "huggingface.co", "www.huggingface.co"})
DEFAULT_REVISION = "main"
PART = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
SHORT = re.compile(rf"(?P<repo>{PART}/{PART})(?::(?P<choice>[^\s:]{{1,200}}))?")
FILE_VIEWS = frozenset({"resolve", "blob", "raw"})


@dataclass(frozen=True, slots=True)
class HubName:
    """A parsed name on the hub.

    Attributes:
        repo: ``user/repo``.
        quantization: As typed, for example ``q4_k_m``; empty for the default.
        file: Path of a file in the repository; empty for none.
        revision: Branch, tag or commit.
    """

    repo: str
    quantization: str = ""
    file: str = ""
    revision: str = DEFAULT_REVISION

    def __str__(self) -> str:
        choice = self.file or self.quantization
        return f"{self.repo}:{choice}" if choice else self.repo


def parse_hub_name(text: str, endpoint: str = "") -> HubName | None:
    """Parse a name on the hub; None when ``text`` is not one.

    Args:
        text: As typed.
        endpoint: The hub's URL, when it is not the public one.
    """
    scheme, separator, rest = text.strip().partition("://")
    if separator:
        return _of_url(text.strip(), endpoint) if scheme in ("http", "https") else None
    host, _, short = scheme.partition("/")
    return _of_short(short if host in HOSTS else scheme) if not rest else None


def is_safe_path(name: str) -> bool:
    """Whether a file name from the hub is safe to join to a folder."""
    if not name or len(name) > 1000 or not name.isprintable() or "\\" in name:
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def _of_short(text: str) -> HubName | None:
    match = SHORT.fullmatch(text)
    if match is None or _is_reserved(match["repo"]):
        return None
    choice = match["choice"] or ""
    if has_gguf_ending(choice):
        return HubName(match["repo"], file=choice) if is_safe_path(choice) else None
    return HubName(match["repo"], quantization=choice)


def _of_url(text: str, endpoint: str) -> HubName | None:
    try:
        url = urlsplit(text)
        known = HOSTS | {urlsplit(endpoint).netloc}
    except ValueError:
        return None
    if url.netloc.lower() not in known:
        return None
    parts = [unquote(part) for part in url.path.split("/") if part]
    if len(parts) >= 5 and parts[2] in FILE_VIEWS:
        return _of_file(f"{parts[0]}/{parts[1]}", parts[3], "/".join(parts[4:]))
    if len(parts) == 4 and parts[2] == "tree":
        name = _of_short(f"{parts[0]}/{parts[1]}")
        return HubName(name.repo, revision=parts[3]) if name and is_safe_path(parts[3]) else None
    return _of_short("/".join(parts)) if len(parts) == 2 else None


def _of_file(repo: str, revision: str, file: str) -> HubName | None:
    name = _of_short(repo)
    if name is None or not has_gguf_ending(file):
        return None
    safe = is_safe_path(file) and is_safe_path(revision)
    return HubName(repo, file=file, revision=revision) if safe else None


def _is_reserved(repo: str) -> bool:
    """Whether the hub or its cache reserves this form; no repository is called so."""
    return "--" in repo or ".." in repo or repo.lower().endswith((".git", ".gguf"))
