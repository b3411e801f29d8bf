# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long the end of a run waits for the delivery.

Where the courier outlives the run, waiting buys no more than a warning. Where it dies with the job, what is not
delivered by then stays in the outbox until somebody delivers it, if the outbox stays at all.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import InvalidConnection

AUTO = "auto"
# Seconds.
_COURIER_LIVES_ON = 2.0
_ENDS_WITH_THE_JOB = 10.0
# They start one command, and end with it: everything else in the container ends with them.
_CONTAINER_INITS = frozenset({"catatonit", "docker-init", "dumb-init", "podman-init", "tini"})


def asked_seconds(option: str) -> float | None:
    """The seconds that the option ``wait`` asks for; None where it leaves them to :func:`automatic_seconds`.

    :raises InvalidConnection: where it is no number of seconds.
    """
    if option.strip().lower() == AUTO:
        return None
    try:
        seconds = float(option)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise InvalidConnection("wait", f"must be {AUTO} or a number of seconds, got {option!r}")
    return seconds


def automatic_seconds(system: str, environ: Mapping[str, str]) -> float:
    """2 seconds where the courier outlives the run, 10 where everything ends with the job.

    :param system: which the run is a job of, see :attr:`RunContext.system`.
    :param environ: the environment of ansible-playbook.
    """
    is_job = system != "shell" or environ.get("CI", "").lower() not in ("", "0", "false")
    return _ENDS_WITH_THE_JOB if is_job or _is_service(environ) or _is_container_command() else _COURIER_LIVES_ON


def _is_service(environ: Mapping[str, str]) -> bool:
    """Whether systemd has started this as a service, and will end every process of it.

    https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#%24INVOCATION_ID
    """
    return bool(environ.get("INVOCATION_ID"))


def _is_container_command() -> bool:
    """Whether this is what a container was started for: it ends with its first process."""
    try:
        if os.getsid(0) == os.getsid(1):
            return True
        with open("/proc/1/comm", encoding="utf-8") as name:
            return name.read().strip() in _CONTAINER_INITS
    except (OSError, UnicodeError):  # no Linux
        return False
