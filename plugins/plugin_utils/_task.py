# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions share: where a task runs, its connection and its way to delivery.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import KEY_OPTIONS, Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._dispatch import (
    Dispatch,
    requests_is_missing,
    usable_folder,
)

# Files of the control node mean nothing on the host that a task is delegated to.
_MEANT_FOR_HERE = ("ca_path", "client_cert", "client_key", "integration_key_file", "state_dir")


def runs_elsewhere(action: Any) -> bool:
    """Whether the task is delegated to a host that is not this machine."""
    return bool(action._task.delegate_to) and action._connection.transport != "local"


class TaskConnection:
    """Where a task delivers to, and how.

    :param action: the action plugin.
    :param options: the task's own options, None where they are not given.
    :raises InvalidConnection: naming the option and what is wrong with it.
    """

    def __init__(self, action: Any, options: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
        self._options = _options.with_task_options(
            _options.resolved(variables, action._templar.template),
            {name: options.get(name) for name in options if options.get(name) is not None},
        )
        self.enabled = bool(self._options["enabled"])
        self.connection = Connection.from_options(self._options)
        self.warnings: list[str] = []
        self._folder: str | None = None

    @property
    def folder(self) -> str:
        """The folder of the outbox."""
        if self._folder is None:
            wanted = _options.state_dir(self._options)
            self._folder = wanted
            if Outbox.exists(wanted) or os.access(os.path.dirname(wanted), os.W_OK):
                return self._folder
            self._folder, notice = usable_folder(wanted)
            if notice is not None:
                self.warnings.append(notice)
        return self._folder

    def integration(self) -> str:
        """How the outbox knows the task's integration."""
        if not Outbox.exists(self.folder):
            return ""
        with Outbox(self.folder) as outbox:
            return self.connection.integration_id(outbox.salt)

    def wait(self, done: Callable[[Outbox], bool], seconds: float) -> bool:
        """Call the courier and wait for it."""
        problem = requests_is_missing()
        if problem is not None:
            raise OSError(problem)
        main = multiprocessing.parent_process()
        process = Process.of(main.pid if main is not None and main.pid is not None else os.getpid())
        dispatch = Dispatch(self.folder, self.connection, process)
        dispatch.call()
        return dispatch.wait(done, seconds)

    def for_module(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with which the module runs on the host that the task is delegated to."""
        arguments = {name: value for name, value in options.items() if value is not None}
        given = {name: self._options.get(name) for name in ("validate_certs", "timeout", "plain_http_hosts")}
        arguments = {**{name: value for name, value in given.items() if value is not None}, **arguments}
        if not any(name in options and options[name] is not None for name in KEY_OPTIONS):
            arguments["integration_key"] = self.connection.integration_key
            arguments["api_url"] = self.connection.api_url
        return arguments
