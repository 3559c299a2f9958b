"""The egress log of the test's own home, and what needs one."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tchat.egress.egress_log import EgressLog, open_egress_log
from tchat.models.hub.api import HubApi
from tchat.models.hub.client import ResponseLimits
from tchat.paths import user_paths


def user_log() -> EgressLog:
    return open_egress_log(user_paths())


def hub_api(
    environ: Mapping[str, str] = os.environ, limits: ResponseLimits | None = None
) -> HubApi:
    return HubApi(user_log(), environ, limits)
