"""The models in a repository of the hub: files grouped into models, and the choice of one.

Companions of a model (projectors, importance matrices, draft models, vocabularies) are recognized
by their names, as in llama.cpp (``common_download_…`` in common/download.cpp), which also sets the
default: Q4_K_M, then Q8_0, then the first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from tchat.errors import ModelNotFound
from tchat.models.files import MAX_PARTS, PART_NAME, has_gguf_ending, without_gguf_ending
from tchat.models.hub.names import HubName
from tchat.sanitize import single_line

DEFAULTS = ("Q4_K_M", "Q8_0")
COMPANION = re.compile(r"(?:^|[-._/])(mmproj|imatrix|draft|vocab)(?=[-._])", re.IGNORECASE)
QUANTIZATION = re.compile(
    r"(?:^|[-._/])"
    r"((?:UD-)?(?:I?Q\d(?:_[A-Z0-9]{1,3})+|TQ\d_\d|BF16|FP?16|FP?32|MXFP4(?:_MOE)?|NVFP4))"
    r"(?=[-._/])",
    re.IGNORECASE,
)
LISTED = 12  # names in a message


@dataclass(frozen=True, slots=True)
class RepoFile:
    """A file on the hub at one commit. Texts come from the hub: sanitize before printing.

    Attributes:
        repo: ``user/repo``.
        commit: 40 hexadecimal digits.
        revision: The revision that led to the commit, for example ``main``.
        name: Path in the repository; safe to join to a folder.
        size: Bytes.
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
    """A model in one or several files.

    Attributes:
        quantization: By the file's name, in upper case, for example ``Q4_K_M``; may be empty.
        files: In the order of the parts.
        name: Its name for `pull`: ``user/repo:QUANT``, else ``user/repo:FILE``.
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

    Attributes:
        repo: ``user/repo``.
        commit: 40 hexadecimal digits.
        licence: As declared; empty when not declared.
        gated: Its terms must be accepted before a download.
        downloads: In the last month.
        models: Sorted by name; language models, as far as names tell.
        companions: Other GGUF files, such as projectors.
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


def base_name(model: RepoModel) -> str:
    """A model's file name without its quantization, in lower case."""
    file = model.first.name.rpartition("/")[2]
    match = PART_NAME.fullmatch(file)
    stem = match["stem"] if match else without_gguf_ending(file)
    return QUANTIZATION.sub("", f"{stem}.").strip("-._").lower()


def is_companion(name: str) -> bool:
    """Whether a file is a companion of a model, by its name."""
    return COMPANION.search(name) is not None


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
            f"the repository {name.repo} holds no GGUF model",
            "look for one that does: `tchat models search WORDS`",
        )
    return default_model(listing.models)


def default_model(models: Sequence[RepoModel]) -> RepoModel:
    """Q4_K_M, then Q8_0, then the first."""
    for wanted in DEFAULTS:
        for model in models:
            if model.quantization == wanted:
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
        f"the repository {listing.repo} has no file {single_line(file)}", _near(file, names)
    )


def _by_quantization(listing: RepoListing, wanted: str) -> RepoModel:
    found = [model for model in listing.models if model.quantization == wanted.upper()]
    if len(found) == 1:
        return found[0]
    if found:
        raise ModelNotFound(
            f"the repository {listing.repo} has {len(found)} models in {wanted.upper()}",
            f"name the file: {_some([model.name for model in found])}",
        )
    names = dict.fromkeys(model.quantization or model.first.name for model in listing.models)
    raise ModelNotFound(
        f"the repository {listing.repo} has no {single_line(wanted)}", _near(wanted.upper(), names)
    )


def _near(wanted: str, names: Iterable[str]) -> str:
    known = list(names)
    near = get_close_matches(wanted, known, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(map(single_line, near))}? It has {_some(known)}"
    return f"it has {_some(known)}" if known else "it holds no GGUF model"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(single_line, names[:LISTED])) + more
