"""Details of one model, on this disk or on the hub, and how it runs on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tchat.chat.machine import measured_machine, with_workers
from tchat.egress.egress_log import EgressLog, open_egress_log
from tchat.engine.binding import build_name
from tchat.errors import TchatError
from tchat.models.fit_report import FitReport, fit_rows, report_fit
from tchat.models.gguf.details import HeaderDetails
from tchat.models.hub.api import HubApi
from tchat.models.hub.remote_model import RemoteModel, inspect_remote
from tchat.models.hub.repository import ModelNotDownloaded
from tchat.models.library import (
    InfoRow,
    Library,
    LibraryModel,
    header_rows,
    info_rows,
    remote_info_rows,
)
from tchat.models.metadata import sampling_pairs
from tchat.models.model_sampling import file_sampling, own_sampling
from tchat.models.models_file import settings_for
from tchat.paths import Paths
from tchat.settings import Value, load, spell
from tchat.translation import joined, tr


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Details of a model.

    Attributes:
        found: The row of the library, or what the hub has.
        details: By its header.
        report: How it does or would do here; None for what cannot chat.
        workers: The workers that it is split over; empty for none.
        workers_fault: Why they cannot be asked; then there is no report.
    """

    found: LibraryModel | RemoteModel
    details: HeaderDetails
    report: FitReport | None
    workers: tuple[str, ...] = ()
    workers_fault: str = ""

    @property
    def sampling(self) -> dict[str, tuple[Value, str]]:
        """The sampling that it recommends: by setting, the value and where it is from."""
        return own_sampling(self._told_sampling, *self._name_and_path)

    @property
    def sampling_notes(self) -> tuple[str, ...]:
        """What its file says of sampling and cannot mean."""
        return file_sampling(self._told_sampling).notes

    @property
    def _told_sampling(self) -> list[tuple[str, bool | int | float | str]]:
        return list(sampling_pairs(self.details.metadata))

    @property
    def _name_and_path(self) -> tuple[str, Path]:
        if isinstance(self.found, RemoteModel):
            return self.found.model.name, Path(self.found.model.files[0].name)
        return self.found.name, self.found.path

    def rows(self) -> Iterator[InfoRow]:
        """Lines of a name and a value; raw."""
        if isinstance(self.found, RemoteModel):
            yield from remote_info_rows(self.found)
        else:
            yield from info_rows(self.found, self.details)
        for name, (value, origin) in self.sampling.items():
            yield (
                tr("sampling {name}", name=name),
                tr("{value} ({origin})", value=spell(value), origin=tr(origin)),
            )
        for note in self.sampling_notes:
            yield "sampling", note
        if self.workers:
            yield tr("workers"), joined(self.workers)
        if self.workers_fault:
            yield tr("fit"), self.workers_fault
        if self.report is not None:
            yield from fit_rows(self.report)
        yield from header_rows(self.details)


def inspect_model(
    name: str,
    paths: Paths,
    environ: Mapping[str, str] = os.environ,
    asking: Callable[[], object] = lambda: None,
    egress: EgressLog | None = None,
) -> ModelInfo:
    """Inspect the model called ``name``; of one on the hub, only the header is fetched.

    ``asking`` is called before the hub is asked; ``egress`` logs that, else the log of the user.

    Raises:
        ModelError: None has the name, several have, or the file is damaged.
        HubError: The hub cannot be asked, or refuses.
        UsageError: models.toml is broken.
    """
    with Library(paths, environ, build=build_name()) as library:
        try:
            row, details = library.show(name)
        except ModelNotDownloaded as absent:
            asking()
            hub = HubApi(egress or open_egress_log(paths), environ)
            remote_model = inspect_remote(absent.remote, hub, measured_machine(paths))
            judged = None if remote_model.refusal else remote_model.report
            return ModelInfo(remote_model, remote_model.details, judged)
    metadata = row.metadata
    if metadata is None or metadata.refusal:
        return ModelInfo(row, details, None)
    machine = measured_machine(paths)
    settings = settings_for(load(paths, environ).settings, paths, row.path)
    workers: tuple[str, ...] = ()
    if settings.rpc:
        from tchat.chat.rpc_model import worker_devices
        from tchat.settings.endpoints import parse_endpoints

        workers = parse_endpoints(settings.rpc)
        try:
            machine = with_workers(machine, worker_devices(settings, paths))
        except TchatError as error:
            return ModelInfo(row, details, None, workers, str(error))
    report = report_fit(metadata.dimensions, metadata.context_length, machine, row.speed)
    return ModelInfo(row, details, report, workers)
