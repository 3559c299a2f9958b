"""What a server tells about itself: its kind, its models, the context of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from tchat.engine.capabilities import Capabilities
from tchat.errors import ModelNotFound
from tchat.sanitize import single_line
from tchat.servers.connection import ServerConnection
from tchat.servers.errors import ServerError, unreadable
from tchat.servers.kinds import KINDS, ServerKind, kind_of_owner
from tchat.settings.keys import did_you_mean
from tchat.translation import tr

UNKNOWN_CONTEXT = 131_072  # tokens, where a server does not tell; it refuses what is too long
OLLAMA_CONTEXT = 4096  # its default; it drops what is too long without a word
MOST_MODELS = 10_000
MOST_TOKENS = 1 << 30
PORTS = {11434: "ollama", 1234: "lm-studio"}  # where a server listens unless told otherwise


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model on a server; ``context`` and ``trained_context`` are 0 where it does not tell."""

    id: str
    context: int = 0
    trained_context: int = 0
    owner: str = ""


@dataclass(frozen=True, slots=True)
class ServerDescription:
    """A server and the model that was asked for.

    Attributes:
        tells_context: Whether the server told the context, or the user did.
    """

    kind: ServerKind
    models: tuple[ServedModel, ...]
    model: ServedModel
    tells_context: bool

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self.kind.capabilities


def read_models(
    connection: ServerConnection, is_stopped: Callable[[], bool], seconds: float = 20.0
) -> tuple[ServedModel, ...]:
    """The models that a server lists, in ``seconds``.

    Raises:
        ServerError: It cannot be reached, or does not list any.
        Stopped: ``is_stopped`` turned true.
    """
    found = connection.get("/models", is_stopped, seconds)
    data = found.get("data") if isinstance(found, Mapping) else None
    if not isinstance(data, list):
        raise ServerError(*unreadable(connection.server))
    return tuple(_models_in(data[:MOST_MODELS]))


def _models_in(data: list[Any]) -> Iterator[ServedModel]:
    for each in data:
        if isinstance(each, Mapping) and isinstance(each.get("id"), str) and each["id"]:
            meta = each.get("meta")
            trained = meta.get("n_ctx_train") if isinstance(meta, Mapping) else None
            owner = each.get("owned_by")
            yield ServedModel(
                each["id"],
                _tokens(each.get("max_model_len")),
                _tokens(trained),
                owner if isinstance(owner, str) else "",
            )


def kind_of(connection: ServerConnection, models: tuple[ServedModel, ...]) -> ServerKind:
    """The kind of a server with these models: as the user says, else by their owners."""
    server = connection.server
    if server.kind:
        return KINDS[server.kind]
    parts = urlsplit(server.url)
    kinds = (kind_of_owner(each.owner, parts.hostname or "") for each in models)
    kind = next((each for each in kinds if each.name != "other"), KINDS["other"])
    port = PORTS.get(parts.port or 0)
    return KINDS[port] if kind.name == "other" and port else kind


def describe(
    connection: ServerConnection, model: str, is_stopped: Callable[[], bool]
) -> ServerDescription:
    """Find the kind of a server, and ``model`` on it; an empty one is the only one there.

    Raises:
        ServerError: It cannot be reached, or answers with an error.
        ModelNotFound: It has no such model, or several and none is named.
        Stopped: ``is_stopped`` turned true.
    """
    models = read_models(connection, is_stopped)
    kind = kind_of(connection, models)
    return _described(connection, kind, models, _find(models, model, connection), is_stopped)


def describe_models(
    connection: ServerConnection, is_stopped: Callable[[], bool]
) -> list[ServerDescription]:
    """All models of a server; errors as of `describe`."""
    models = read_models(connection, is_stopped)
    kind = kind_of(connection, models)
    return [_described(connection, kind, models, each, is_stopped) for each in models]


def _described(
    connection: ServerConnection,
    kind: ServerKind,
    models: tuple[ServedModel, ...],
    model: ServedModel,
    is_stopped: Callable[[], bool],
) -> ServerDescription:
    if connection.server.ctx_size:
        model = replace(model, context=connection.server.ctx_size)
    else:
        model = _with_context(connection, kind, model, is_stopped)
    tells = model.context > 0
    context = model.context or model.trained_context or UNKNOWN_CONTEXT
    return ServerDescription(kind, models, replace(model, context=context), tells)


def _find(models: tuple[ServedModel, ...], model: str, connection: ServerConnection) -> ServedModel:
    name = connection.server.name
    if not model:
        if len(models) == 1:
            return models[0]
        names = ", ".join(single_line(each.id, 60) for each in models[:5])
        raise ModelNotFound(
            tr("{name} has {count} models, and none is named", name=name, count=len(models)),
            tr("name one, like {name}/MODEL: {names}", name=name, names=names) if models else "",
        )
    # Ollama's names have a tag, which may be left out.
    known = {each.id: each for each in reversed(models)}
    found = known.get(model) or known.get(f"{model}:latest")
    if found is None:
        raise ModelNotFound(
            tr("{name} has no model {model}", name=name, model=single_line(model, 80)),
            did_you_mean(single_line(model, 200), [single_line(each, 200) for each in known])
            or tr("`tchat servers test {name}` lists its models", name=name),
        )
    return found


def _with_context(
    connection: ServerConnection,
    kind: ServerKind,
    model: ServedModel,
    is_stopped: Callable[[], bool],
) -> ServedModel:
    """The model with the tokens of its context, which some servers tell elsewhere."""
    ask = _CONTEXTS.get(kind.name)
    if ask is None or model.context:
        return model
    with suppress(ServerError, ModelNotFound):  # it works without
        return ask(connection, model, is_stopped)
    return model


def _of_llama_server(
    connection: ServerConnection, model: ServedModel, is_stopped: Callable[[], bool]
) -> ServedModel:
    found = connection.get("//props", is_stopped)
    return replace(model, context=_tokens(_at(found, "default_generation_settings", "n_ctx")))


def _of_ollama(
    connection: ServerConnection, model: ServedModel, is_stopped: Callable[[], bool]
) -> ServedModel:
    running = _at(connection.get("//api/ps", is_stopped), "models")
    for each in running if isinstance(running, list) else ():
        context = _tokens(_at(each, "context_length"))
        if context and model.id in (_at(each, "model"), _at(each, "name")):
            return replace(model, context=context)
    shown = connection.post("//api/show", {"model": model.id}, is_stopped, 20.0)
    info, parameters = _at(shown, "model_info"), _at(shown, "parameters")
    trained = 0
    if isinstance(info, Mapping):
        sizes = (_tokens(info[key]) for key in info if str(key).endswith(".context_length"))
        trained = max(sizes, default=0)
    context = OLLAMA_CONTEXT
    for line in parameters.splitlines() if isinstance(parameters, str) else ():
        name, _, value = line.strip().partition(" ")
        if name == "num_ctx" and value.strip().isdecimal():
            context = _tokens(int(value)) or context
    return replace(
        model, context=min(context, trained) if trained else context, trained_context=trained
    )


def _of_lm_studio(
    connection: ServerConnection, model: ServedModel, is_stopped: Callable[[], bool]
) -> ServedModel:
    listed = _at(connection.get("//api/v0/models", is_stopped), "data")
    for each in listed if isinstance(listed, list) else ():
        if _at(each, "id") == model.id:
            trained = _tokens(_at(each, "max_context_length"))
            context = _tokens(_at(each, "loaded_context_length"))
            return replace(model, context=context, trained_context=trained)
    return model


_CONTEXTS = {"llama-server": _of_llama_server, "ollama": _of_ollama, "lm-studio": _of_lm_studio}


def _at(value: object, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _tokens(value: object) -> int:
    return value if type(value) is int and 0 < value <= MOST_TOKENS else 0
