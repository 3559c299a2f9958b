"""A model on a server as the model of a chat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tchat.chat.outgoing import is_redacted, new_redaction
from tchat.egress.egress_log import open_egress_log
from tchat.errors import UsageError
from tchat.models.files import FileKey
from tchat.models.gguf.compatibility import ModelKind
from tchat.models.memory import ModelDimensions
from tchat.models.metadata import ModelMetadata
from tchat.servers.api_key import find_key
from tchat.servers.backend import ServerBackend
from tchat.servers.config import Server, ServerModel, find_server_model
from tchat.settings.schema import has_url_scheme
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.chat.backend import Backend
    from tchat.chat.outgoing import OutgoingTexts
    from tchat.engine.binding import Cancel
    from tchat.paths import Paths
    from tchat.settings import Settings


def open_server_model(
    settings: Settings, paths: Paths, cancel: Cancel
) -> tuple[ServerBackend, ModelMetadata]:
    """The backend of the model that ``settings`` name, not yet asked for, and what stands for it.

    Raises:
        UsageError: The server is not described correctly, or its key is missing.
    """
    found = _find(settings, paths)
    backend = ServerBackend(found, find_key(found.server), open_egress_log(paths), cancel)
    if is_redacted(found.server, settings):
        backend.redaction = new_redaction(settings)
    return backend, server_metadata(settings.model, found)


def bind_redaction(backend: Backend, settings: Settings, outgoing: OutgoingTexts) -> None:
    """Redact what goes to ``backend``, where that is wanted, with the placeholders of a session.

    Raises:
        UsageError: The libraries that it needs are not installed.
    """
    if isinstance(backend, ServerBackend):
        wanted = is_redacted(backend.server, settings)
        backend.redaction = outgoing.redaction() if wanted else None


def require_private_use(settings: Settings, paths: Paths) -> None:
    """Check that a private chat may be sent to the server that ``settings`` name.

    Raises:
        UsageError: It may not, or the server is not described correctly.
    """
    server = _find(settings, paths).server
    if not server.private:
        raise _refused(server, settings.model)


def _find(settings: Settings, paths: Paths) -> ServerModel:
    found = find_server_model(settings.model, settings.servers, str(paths.config_file))
    if found is None:
        raise UsageError(
            tr("no model server is called {name}", name=settings.model),
            tr("see `tchat servers ls`"),
        )
    return found


def _refused(server: Server, model: str) -> UsageError:
    if has_url_scheme(model):
        hint = tr("allow it: tchat servers add NAME {url} --private", url=server.url)
    else:
        hint = tr("allow it: private = true in [servers.{name}] of config.toml", name=server.name)
    return UsageError(
        tr("this session is private, so nothing of it is sent to {host}", host=server.host),
        tr("{hint}, or choose a model in this process", hint=hint),
    )


def server_metadata(name: str, model: ServerModel) -> ModelMetadata:
    """What is known of a model whose file is elsewhere: its name."""
    return ModelMetadata(
        path=Path(name),
        key=FileKey(0, 0, 0, 0, 0),
        parts=(),
        title=model.model or name,
        kind=ModelKind.CHAT,
        refusal="",
        architecture="",
        quantization="",
        parameters=0,
        context_length=0,
        chat_template="",
        size=0,
        sha256="",
        dimensions=ModelDimensions(),
        sampling=(),
    )
