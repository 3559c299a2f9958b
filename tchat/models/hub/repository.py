"""Repositories of the hub: names of models in them, their files, and the choice of a model.

Names are ``user/repo``, ``user/repo:QUANT``, ``hf.co/…``, and file URLs. Companions of a model
(projectors, importance matrices, draft models, vocabularies) are recognized by their names, as in
llama.cpp (``common_download_…`` in common/download.cpp), which also sets the default quantization.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from tchat.errors import MODELS, ErrorHint, ModelNotFound
from tchat.humanize import listed
from tchat.models.files import MAX_PARTS, PART_NAME, has_gguf_ending, without_gguf_ending
from tchat.sanitize import single_line
from tchat.translation import tr

HOSTS = frozenset({"hf.co", "huggingface.co", "www.huggingface.co"})
DEFAULT_REVISION = "main"
PART = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
SHORT = re.compile(rf"(?P<repo>{PART}/{PART})(?::(?P<choice>[^\s:]{{1,200}}))?")
FILE_VIEWS = frozenset({"resolve", "blob", "raw"})


DEFAULTS = ("Q4_K_M", "Q8_0")
COMPANION = re.compile(r"(?:^|[-._/])(mmproj|imatrix|draft|vocab)(?=[-._])", re.IGNORECASE)
DRAFT = re.compile(r"(?:^|/)(?:mtp|eagle3|dflash|dspark)-")  # heads that only draft
QUANTIZATION = re.compile(
    r"(?:^|[-._/])"
    r"((?:UD-)?(?:I?Q\d(?:_[A-Z0-9]{1,3})+|TQ\d_\d|BF16|FP?16|FP?32|MXFP4(?:_MOE)?|NVFP4))"
    r"(?=[-._/])",
    re.IGNORECASE,
)
LISTED = 12  # names in a message


@dataclass(frozen=True, slots=True)
class HubName:
    """A parsed name on the hub.

    ``quantization`` is as typed, empty for the default; ``file`` is a path in the repository, or
    empty; ``revision`` a branch, tag or commit.
    """

    repo: str
    quantization: str = ""
    file: str = ""
    revision: str = DEFAULT_REVISION

    def __str__(self) -> str:
        choice = self.file or self.quantization
        return f"{self.repo}:{choice}" if choice else self.repo


def pull_hint(name: str, *others: str) -> ErrorHint:
    """What pulls a model, and the names of others that could have been meant."""
    if others:
        name = tr("{name} (or {others})", name=name, others=", ".join(others))
    return ErrorHint(
        tr("get it: tchat models pull {name}", name=name),
        tr("{models} downloads it: {name}", models=MODELS, name=name),
    )


class ModelNotDownloaded(ModelNotFound):
    """The model, called ``name`` by the user, is not on this disk, but ``remote`` can be pulled."""

    def __init__(self, name: str, remote: HubName) -> None:
        shown = single_line(name)
        super().__init__(tr("{shown} is not on this disk", shown=shown), pull_hint(shown))
        self.remote = remote


def parse_hub_name(text: str, endpoint: str = "") -> HubName | None:
    """Parse a name on the hub, the public one or ``endpoint``; None for other texts."""
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


@dataclass(frozen=True, slots=True)
class RepoFile:
    """A file on the hub at one commit. Texts come from the hub: sanitize before printing.

    Attributes:
        revision: The revision that led to the commit, for example ``main``.
        name: Path in the repository; safe to join to a folder.
        sha256: Of the content; empty for a small file that is not in the large file storage.
        blob: Name of the blob in the cache: ``sha256``, else git's SHA-1 of the blob.
    """

    repo: str
    commit: str
    revision: str
    name: str
    size: int
    sha256: str
    blob: str


@dataclass(frozen=True, slots=True)
class RepoModel:
    """A model in one or several files, in the order of the parts.

    ``quantization`` is by the file's name, in upper case; it may be empty. ``name`` is that for a
    pull: ``user/repo:QUANT``, else ``user/repo:FILE``.
    """

    quantization: str
    files: tuple[RepoFile, ...]
    name: str

    @property
    def first(self) -> RepoFile:
        """The file that is loaded, and whose header holds the metadata."""
        return self.files[0]

    @property
    def size(self) -> int:
        """Bytes, of all parts."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class RepoListing:
    """The content of a repository at one commit. Texts come from the hub: sanitize before printing.

    A ``gated`` one asks for its terms to be accepted; ``downloads`` are those of the last month.
    ``models`` are language models, as far as names tell, sorted by name; ``companions`` other GGUF
    files, such as projectors.
    """

    repo: str
    commit: str
    licence: str
    gated: bool
    downloads: int
    models: tuple[RepoModel, ...]
    companions: tuple[RepoFile, ...]


def quantization_in(name: str) -> str:
    """The quantization in a file's name, in upper case; empty when there is none."""
    stem = f"{without_gguf_ending(name)}."
    found = QUANTIZATION.findall(stem.rpartition("/")[2]) or QUANTIZATION.findall(stem)
    return found[-1].upper() if found else ""


def base_name(name: str) -> str:
    """The name of a model's file without its quantization, in lower case."""
    file = name.rpartition("/")[2]
    match = PART_NAME.fullmatch(file)
    stem = match["stem"] if match else without_gguf_ending(file)
    return QUANTIZATION.sub("", f"{stem}.").strip("-._").lower()


def is_companion(name: str) -> bool:
    """Whether a file is a companion of a model, by its name."""
    return COMPANION.search(name) is not None or DRAFT.search(name) is not None


def group_models(files: Iterable[RepoFile]) -> tuple[tuple[RepoModel, ...], tuple[RepoFile, ...]]:
    """The models among ``files``, and their companions, both sorted by name.

    A model with missing parts is left out.
    """
    ggufs = sorted((f for f in files if has_gguf_ending(f.name)), key=lambda f: f.name)
    companions = tuple(file for file in ggufs if is_companion(file.name))
    by_name = {file.name: file for file in ggufs if not is_companion(file.name)}
    models = [model for name in by_name if (model := _model(name, by_name))]
    shared = Counter(model.quantization for model in models)
    return tuple(_named(model, shared[model.quantization] == 1) for model in models), companions


def list_repo_models(files: Iterable[RepoFile]) -> list[RepoModel]:
    """The models, then companions, then incomplete models by their first part."""
    listed = list(files)
    models, companions = group_models(listed)
    alone = [_alone(file) for file in companions]
    known = {file.name for model in (*models, *alone) for file in model.files}
    broken: dict[str, RepoModel] = {}
    for file in sorted(listed, key=lambda each: each.name):
        match = PART_NAME.fullmatch(file.name.rpartition("/")[2])
        if file.name not in known and match is not None:
            broken.setdefault(match["stem"] + match["count"], _alone(file))
    return [*models, *alone, *broken.values()]


def _alone(file: RepoFile) -> RepoModel:
    return RepoModel("", (file,), f"{file.repo}:{file.name}")


def choose_model(listing: RepoListing, name: HubName) -> RepoModel:
    """Choose the model of ``name``; without a quantization the default.

    Raises:
        ModelNotFound: There is none, or several have the quantization.
    """
    if name.file:
        return _by_file(listing, name.file)
    if name.quantization:
        return _by_quantization(listing, name.quantization)
    if not listing.models:
        raise ModelNotFound(
            tr("the repository {repo} holds no GGUF model", repo=name.repo),
            tr("look for one that does: `tchat models search WORDS`"),
        )
    return default_model(listing.models)


def default_model(models: Sequence[RepoModel]) -> RepoModel:
    """Q4_K_M, then Q8_0, then the first."""
    for quantization in DEFAULTS:
        for model in models:
            if model.quantization == quantization:
                return model
    return models[0]


def _model(name: str, by_name: dict[str, RepoFile]) -> RepoModel | None:
    """The model whose first file is ``name``; None for further parts and incomplete models."""
    folder, slash, base = name.rpartition("/")
    match = PART_NAME.fullmatch(base)
    names = [name]
    if match is not None:
        count = int(match["count"])
        if int(match["number"]) != 1 or not 0 < count <= MAX_PARTS:
            return None
        names = [
            f"{folder}{slash}{match['stem']}-{number:05}-of-{count:05}.gguf"
            for number in range(1, count + 1)
        ]
    if any(each not in by_name for each in names):
        return None
    stem = f"{folder}{slash}{match['stem']}" if match else name
    return RepoModel(quantization_in(stem), tuple(by_name[each] for each in names), "")


def _named(model: RepoModel, unique: bool) -> RepoModel:
    choice = model.quantization if model.quantization and unique else model.first.name
    return replace(model, name=f"{model.first.repo}:{choice}")


def _by_file(listing: RepoListing, file: str) -> RepoModel:
    for model in listing.models:
        if any(part.name == file for part in model.files):
            return model
    for companion in listing.companions:
        if companion.name == file:
            return RepoModel(quantization_in(file), (companion,), f"{listing.repo}:{file}")
    names = [model.first.name for model in listing.models]
    raise ModelNotFound(
        tr("the repository {repo} has no file {file}", repo=listing.repo, file=single_line(file)),
        _near(file, names),
    )


def _by_quantization(listing: RepoListing, quantization: str) -> RepoModel:
    found = [model for model in listing.models if model.quantization == quantization.upper()]
    if len(found) == 1:
        return found[0]
    if found:
        raise ModelNotFound(
            tr(
                "the repository {repo} has {found} models in {upper}",
                repo=listing.repo,
                found=len(found),
                upper=quantization.upper(),
            ),
            tr("name the file: {some}", some=_some([model.name for model in found])),
        )
    names = dict.fromkeys(model.quantization or model.first.name for model in listing.models)
    raise ModelNotFound(
        tr(
            "the repository {repo} has no {quantization}",
            repo=listing.repo,
            quantization=single_line(quantization),
        ),
        _near(quantization.upper(), names),
    )


def _near(name: str, names: Iterable[str]) -> str:
    from difflib import get_close_matches

    known = list(names)
    near = get_close_matches(name, known, n=3, cutoff=0.6)
    if near:
        return tr(
            "did you mean {names}? It has {some}",
            names=tr(" or ").join(map(single_line, near)),
            some=_some(known),
        )
    return tr("it has {some}", some=_some(known)) if known else tr("it holds no GGUF model")


def _some(names: Iterable[str]) -> str:
    return listed([single_line(name) for name in names], LISTED)
