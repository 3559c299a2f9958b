"""All that is told of one model, on this disk or on the hub, and of how it would do here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tchat.chat.throughput import measured_machine
from tchat.engine.binding import build_name
from tchat.models.absent import NotOnDisk
from tchat.models.details import Details
from tchat.models.details_rows import Row, about, about_prospect, inside
from tchat.models.fit_report import Report, report
from tchat.models.fit_rows import fit_rows
from tchat.models.hub import Hub
from tchat.models.library import Library, ModelRow
from tchat.models.prospect import Prospect, ask_about
from tchat.paths import Paths


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that was looked into.

    Attributes:
        found: The row of the library, or what the hub has.
        details: By its header.
        report: How it does or would do here; None for what cannot chat.
    """

    found: ModelRow | Prospect
    details: Details
    report: Report | None

    def rows(self) -> Iterator[Row]:
        """Lines of a name and a value; raw."""
        if isinstance(self.found, Prospect):
            yield from about_prospect(self.found)
        else:
            yield from about(self.found, self.details)
        if self.report is not None:
            yield from fit_rows(self.report)
        yield from inside(self.details)


def inspect_model(
    name: str,
    paths: Paths,
    environ: Mapping[str, str] = os.environ,
    asking: Callable[[], object] = lambda: None,
) -> ModelInfo:
    """Look into the model called ``name``; of one on the hub no more than its header is read.

    Args:
        name: As `-m` takes it, or of the hub.
        paths: The user's folders.
        environ: Tells where the hub and other programs' files are.
        asking: Called before the hub is asked.

    Raises:
        ModelError: None has the name, several have, or the file is damaged.
        HubError: The hub cannot be asked, or refuses.
        UsageError: models.toml is broken.
    """
    with Library(paths, environ, build=build_name()) as library:
        try:
            row, details = library.show(name)
        except NotOnDisk as absent:
            asking()
            prospect = ask_about(absent.remote, Hub(environ), measured_machine(paths))
            judged = None if prospect.refusal else prospect.report
            return ModelInfo(prospect, prospect.details, judged)
    facts = row.facts
    if facts is None or facts.refusal:
        return ModelInfo(row, details, None)
    machine = measured_machine(paths)
    return ModelInfo(row, details, report(facts.shape, facts.context_length, machine, row.speed))
