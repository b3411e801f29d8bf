# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions share: where a task runs, its connection, its store and its delivery, and how it fails.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from typing import Any

from ansible import constants as C  # noqa: N812
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import InvalidEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import (
    ChangeQuery,
    Found,
    ReadingFailed,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import (
    Connection,
    InvalidConnection,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import reader
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError, require_sqlite
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import language_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.changes import Messages
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.notices import notice
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.reasons import in_chinese
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.delivery import (
    CourierDelivery,
    DelegatedDelivery,
    TaskDelivery,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.remote_state import RemoteState
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.report import ReportFailed

# What keeps an event from being reported, and what :func:`failure` makes the task say.
REPORT_ERRORS = (ReportFailed, InvalidEvent, InvalidConnection, OutboxError, OSError)
_INFO_MODULE = "flashcat.flashduty.flashduty_change_info"
# Where a task is delegated to another host, these name files of that host.
_FILES_THERE = ("ca_path", "client_cert", "client_key")
_KEY_FILE = "integration_key_file"
_FOR_MODULE = ("validate_certs", "timeout", "plain_http_hosts", *_FILES_THERE)


class TaskAction(ActionBase):
    """An action that works on the control node, so that no other host has to be reached for it."""

    _requires_connection = False

    @property
    def runs_elsewhere(self) -> bool:
        """Whether the task is delegated to a host that is not this machine."""
        return bool(self._task.delegate_to) and self._connection.transport != "local"

    def cleanup(self, force: bool = False) -> None:
        """Tidy up on the host that the task was delegated to; one that has gone does not change what is returned."""
        try:
            super().cleanup(force=force)
        except AnsibleError:
            pass


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
    """Reports are turned off by the option ``enabled``; the text says so in the language that is set."""


class TaskConnection:
    """Where a task delivers to, and how.

    :ivar connection: the integration.
    :ivar preview: whether events are only shown.
    :ivar outcome_labels: whether the end of a change says in labels how it ended.
    :param action: the action plugin.
    :param options: the task's own options, None where they are not given.
    :param task_vars: as ansible-core gives them to the action.
    :param reading: whether it only reads, which needs no integration key.
    :param reporting: whether it reports a change.
    :raises TurnedOff: where it reports a change and is not to.
    :raises InvalidConnection: naming the option and what is wrong with it.
    """

    def __init__(
        self,
        action: Any,
        options: Mapping[str, Any],
        task_vars: Mapping[str, Any],
        reading: bool = False,
        reporting: bool = False,
    ) -> None:
        self._action = action
        self._task_vars = task_vars
        if action.runs_elsewhere:
            # As the task has them: a ~ is the home folder there.
            options = {**options, **{name: action._task.args.get(name) for name in (_KEY_FILE, *_FILES_THERE)}}
        self._options = _options.with_task_options(_options.of_task(action, task_vars), options)
        if reporting and not self._options["enabled"]:
            raise TurnedOff(notice(self.language, "not-reported-off"))
        self.preview = bool(self._options["preview"])
        self.outcome_labels = bool(self._options["outcome_labels"])
        self._key_file = str(options.get(_KEY_FILE) or "") if action.runs_elsewhere else ""
        try:
            self.connection = self._connection_of(reading)
        except InvalidConnection as error:
            if self.language == "zh":
                error.args = (in_chinese(error),)
            raise

    def _connection_of(self, reading: bool) -> Connection:
        options = self._options
        if self._action.runs_elsewhere:
            options = {**options, **dict.fromkeys(_FILES_THERE)}
        if self._key_file and not options.get("push_url") and not options.get("integration_key"):
            return Connection.with_key_file_of(self._action._task.delegate_to, options, self._key_file)
        self._key_file = ""
        return Connection.for_reading(options) if reading else _options.connection_of(options)

    @property
    def state_dir(self) -> str:
        """The folder of the outbox."""
        return _options.state_dir(self._options)

    @property
    def language(self) -> str:
        """That of what is said: en or zh."""
        return language_of(str(self._options["language"]), os.environ)

    @property
    def messages(self) -> Messages:
        """What events say, in the language that is set."""
        return Messages(self.language)

    @property
    def store(self) -> Store:
        """The outbox of this control node.

        :raises OutboxError: where this Python cannot open one.
        """
        if not self.preview:
            require_sqlite()
        only_look = self.preview or bool(self._action._task.check_mode)
        return Store(self.state_dir, self.connection, ansible_playbook(), only_look)

    def delivery(self, store: Store) -> TaskDelivery:
        """How events get from the store to Flashduty."""
        if self._action.runs_elsewhere:
            return DelegatedDelivery(store, self.connection, self._execute, self._for_module())
        return CourierDelivery(store, self.connection, ansible_playbook())

    def find(self, query: ChangeQuery) -> Found:
        """Ask Flashduty for changes, from a process of its own or from the host that the task is delegated to.

        :raises ReadingFailed: where it could not be asked.
        """
        if not self._action.runs_elsewhere:
            return reader.find_changes(self.connection, query)
        result = self._execute(_INFO_MODULE, {**self._for_module(), **query.to_options()})
        if result.get("failed"):
            raise ReadingFailed(str(result.get("msg")))
        return Found(list(result["changes"]), int(result["total"]), bool(result["truncated"]))

    def query_there(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What the module for queries returns on the host that the task is delegated to."""
        given = {name: value for name, value in options.items() if value is not None}
        return dict(self._execute(_INFO_MODULE, {**given, **self._for_module()}))

    @property
    def remote_state(self) -> RemoteState | None:
        """What Flashduty shows of changes, read once for all hosts of a task; None without an app key."""
        if self.connection.app_key is None:
            return None
        # This folder lives as long as the run, and all its workers see it.
        return RemoteState(self.connection, self.find, os.path.join(C.DEFAULT_LOCAL_TMP, "flashduty"), self.language)

    def _execute(self, module: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        result: Mapping[str, Any] = self._action._execute_module(
            module_name=module, module_args=dict(arguments), task_vars=self._task_vars
        )
        return result

    def _for_module(self) -> dict[str, Any]:
        """The arguments that say how the host that the task is delegated to reaches the API."""
        arguments = {name: self._options.get(name) for name in _FOR_MODULE}
        arguments.update(api_url=self.connection.api_url, app_key=self.connection.app_key)
        if self._key_file:
            arguments[_KEY_FILE] = self._key_file
        else:
            arguments["integration_key"] = self.connection.integration_key or None
        return {name: value for name, value in arguments.items() if value is not None}
