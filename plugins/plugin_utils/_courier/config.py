# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a courier gets from the client that starts it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process

# The file descriptors by which the courier inherits the pipe, so that it can be called before it is up, and the signals
# of the process beside which it stays.
FIFO_READER = 3
SIGNALS_READER = 4

# What the kernel keeps of a process's name.
COURIER_NAME = "flashduty-courier"[:15]
NO_MORE_PROCESSES = "no more processes can be started. Raise the limit (ulimit -u, or pids of the container)"


class CourierConfig(NamedTuple):
    """What a courier gets when it starts.

    :ivar state_dir: the outbox's folder, as configured.
    :ivar connection: where to deliver to.
    :ivar process: beside which process to stay.
    :ivar fifo: path of the named pipe by which it is woken.
    :ivar run: the run to close should the process vanish; None where there is none.
    :ivar interrupted_text: what its changes say then if it had been sent SIGINT; None for what they say otherwise.
    :ivar signals: whether :data:`SIGNALS_READER` is there.
    :ivar import_path: the ``sys.path`` on which ``requests`` is found.
    """

    state_dir: str
    connection: Connection
    process: Process
    fifo: str
    run: str | None
    interrupted_text: str | None
    signals: bool
    import_path: list[str]

    def to_json(self) -> str:
        """For the pipe to the courier; holds the integration key, and the password of the shared outbox."""
        connection = self.connection.for_pushing().to_dict()
        return json.dumps({**self._asdict(), "connection": connection, "process": self.process.to_text()})

    @classmethod
    def from_json(cls, text: str) -> CourierConfig:
        """The config whose :meth:`to_json` was sent."""
        values: Mapping[str, Any] = json.loads(text)
        connection = Connection(**values["connection"])
        return cls(**{**values, "connection": connection, "process": Process.from_text(values["process"])})
