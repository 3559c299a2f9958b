"""The models in a repository of the hub: which files belong together, and which one is meant.

Files that accompany a model (projectors, importance matrices, draft models, bare vocabularies) are
set apart by their names, as llama.cpp does (``common_download_…`` in common/download.cpp); so is
the default: Q4_K_M, then Q8_0, then the first.
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
    """One file on the hub, pinned to a commit. Texts come from the hub: sanitize before printing.

    Attributes:
        repo: ``user/repo``.
        commit: The commit that was looked at, 40 hexadecimal digits.
        revision: What led to the commit, for example ``main``.
        name: Path in the repository; safe to be joined to a folder.
        size: Bytes.
        sha256: Of the content; empty for a small file that is not in the large file storage.
        blob: What the cache calls the content: ``sha256``, else git's SHA-1 of the blob.
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
    """One model in one or several files, the first part first.

    Attributes:
        quantization: By the file's name, in capitals, for example ``Q4_K_M``; may be empty.
        files: In the order of the parts.
        name: What `pull` understands: ``user/repo:QUANT``, else ``user/repo:FILE``.
    """

    quantization: str
    files: tuple[RepoFile, ...]
    name: str

    @property
    def first(self) -> RepoFile:
        """The file that is loaded, and whose header tells about the model."""
        return self.files[0]

    @property
    def size(self) -> int:
        """Bytes, of all parts."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class RepoListing:
    """What a repository holds at one commit. Texts come from the hub: sanitize before printing.

    Attributes:
        repo: ``user/repo``.
        commit: 40 hexadecimal digits.
        licence: As its maker declares it; empty when not declared.
        gated: Its terms must be accepted before a download.
        downloads: In the last month.
        models: By name; language models as far as the names tell.
        companions: GGUF files that accompany a model.
    """

    repo: str
    commit: str
    licence: str
    gated: bool
    downloads: int
    models: tuple[RepoModel, ...]
    companions: tuple[RepoFile, ...]


def quantization_in(name: str) -> str:
    """The quantization that a file's name tells, in capitals; empty when it tells none."""
    stem = f"{without_gguf_ending(name)}."
    found = QUANTIZATION.findall(stem.rpartition("/")[2]) or QUANTIZATION.findall(stem)
    return found[-1].upper() if found else ""


def base_name(model: RepoModel) -> str:
    """What the files of one model in several quantizations share, in small letters."""
    file = model.first.name.rpartition("/")[2]
    match = PART_NAME.fullmatch(file)
    stem = match["stem"] if match else without_gguf_ending(file)
    return QUANTIZATION.sub("", f"{stem}.").strip("-._").lower()


def is_companion(name: str) -> bool:
    """Whether a file's name says that it accompanies a model instead of being one."""
    return COMPANION.search(name) is not None


def group_models(files: Iterable[RepoFile]) -> tuple[tuple[RepoModel, ...], tuple[RepoFile, ...]]:
    """The models among ``files``, and the GGUF files that accompany them; both by name.

    A model of which parts are missing is left out.
    """
    ggufs = sorted((f for f in files if has_gguf_ending(f.name)), key=lambda f: f.name)
    companions = tuple(file for file in ggufs if is_companion(file.name))
    by_name = {file.name: file for file in ggufs if not is_companion(file.name)}
    models = [model for name in by_name if (model := _model(name, by_name))]
    shared = Counter(model.quantization for model in models)
    return tuple(_named(model, shared[model.quantization] == 1) for model in models), companions


def list_repo_models(files: Iterable[RepoFile]) -> list[RepoModel]:
    """The models, then what accompanies them, then parts whose model is not whole."""
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
    """The model that ``name`` means in its repository; without a quantization the default one.

    Raises:
        ModelNotFound: There is none, or the quantization has several.
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
    """The model that begins with the file ``name``; None for further parts and broken sets."""
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
