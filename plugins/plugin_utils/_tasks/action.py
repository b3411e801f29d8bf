# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions share: where a task runs, its connection and its way to delivery, and how it fails.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from typing import Any

from ansible import constants as C  # noqa: N812
from ansible.plugins.action import ActionBase

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import InvalidEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import (
    ChangeQuery,
    Found,
    ReadingFailed,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import (
    KEY_OPTIONS,
    Connection,
    InvalidConnection,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_file import OutboxError
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process
from ansible_collections.flashcat.flashduty.plugins.module_utils._reporting import ReportFailed
from ansible_collections.flashcat.flashduty.plugins.module_utils._shown_state import ShownState
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import reader
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.client import (
    Dispatch,
    requests_is_missing,
)

# What keeps an event from being reported, and what :func:`failure` makes the task say.
REPORT_ERRORS = (ReportFailed, InvalidEvent, InvalidConnection, OutboxError, OSError)


class TaskAction(ActionBase):
    """An action that works on the control node, so that no other host has to be reached for it."""

    _requires_connection = False

    @property
    def runs_elsewhere(self) -> bool:
        """Whether the task is delegated to a host that is not this machine."""
        return bool(self._task.delegate_to) and self._connection.transport != "local"


def failure(error: Exception) -> dict[str, Any]:
    """What a task returns that fails with the text of the error alone."""
    more = error.result if isinstance(error, (ReportFailed, ReadingFailed)) else {}
    return {**more, "failed": True, "msg": str(error)}


def ansible_playbook() -> Process:
    """The process that runs the playbook, of which a task's is a fork."""
    main = multiprocessing.parent_process()
    return Process.of(main.pid if main is not None and main.pid is not None else os.getpid())


# Now, before the first fork and before a task can rename this machine.
ansible_playbook()
_options.prepare()


class TurnedOff(Exception):
    """Reports are turned off by the option ``enabled``."""

    def __init__(self) -> None:
        super().__init__("flashduty_enabled is false")


class TaskConnection:
    """Where a task delivers to, and how.

    :param action: the action plugin.
    :param options: the task's own options, None where they are not given.
    :param reading: whether it only reads, which needs no integration key.
    :param reporting: whether it reports a change.
    :raises TurnedOff: where it reports a change and is not to.
    :raises InvalidConnection: naming the option and what is wrong with it.
    """

    def __init__(
        self,
        action: Any,
        options: Mapping[str, Any],
        variables: Mapping[str, Any],
        reading: bool = False,
        reporting: bool = False,
    ) -> None:
        self._options = _options.with_task_options(_options.of_task(action, variables), options)
        if reporting and not self._options["enabled"]:
            raise TurnedOff
        self.preview = bool(self._options["preview"])
        made = Connection.for_reading if reading else _options.connection_of
        self.connection = made(self._options)

    @property
    def folder(self) -> str:
        """The folder of the outbox."""
        return _options.state_dir(self._options)

    def wait(self, folder: str, done: Callable[[Outbox], bool], seconds: float) -> bool:
        """Call the courier and wait for it.

        :param folder: the folder of the outbox that is used.
        """
        problem = requests_is_missing()
        if problem is not None:
            raise OSError(problem)
        dispatch = Dispatch(self.folder, self.connection, ansible_playbook(), folder=folder)
        dispatch.call()
        return dispatch.wait(done, seconds)

    def find(self, query: ChangeQuery) -> Found:
        """Ask Flashduty for changes, from a process of its own.

        :raises ReadingFailed: where it could not be asked.
        """
        return reader.find_changes(self.connection, query)

    @property
    def shown_state(self) -> ShownState | None:
        """What Flashduty shows of changes, read once for all hosts of a task; None without an app key."""
        if self.connection.app_key is None:
            return None
        # This folder lives as long as the run, and all its workers see it.
        return ShownState(self.connection, self.find, os.path.join(C.DEFAULT_LOCAL_TMP, "flashduty"))

    def for_module(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with which the module runs on the host that the task is delegated to."""
        arguments = {name: value for name, value in options.items() if value is not None}
        given = {name: self._options.get(name) for name in ("validate_certs", "timeout", "plain_http_hosts")}
        arguments = {**{name: value for name, value in given.items() if value is not None}, **arguments}
        if not any(name in options and options[name] is not None for name in KEY_OPTIONS):
            arguments["integration_key"] = self.connection.integration_key or None
            arguments["api_url"] = self.connection.api_url
        arguments.setdefault("app_key", self.connection.app_key)
        return {name: value for name, value in arguments.items() if value is not None}
