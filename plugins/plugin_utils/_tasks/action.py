# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions share: where a task runs, its connection, its store and its delivery, and how it fails."""

from __future__ import annotations

import multiprocessing
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ansible import constants as C  # noqa: N812
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._argspec import CONNECTION_OPTIONS
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import InvalidValue
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import ChangeQuery, Found
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection, InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import reader
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices, language_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError, require_sqlite
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import CurrentRun
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.preview import show
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.delivery import (
    CourierDelivery,
    DelegatedDelivery,
    TaskDelivery,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.options import of_task
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.remote_state import RemoteState
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.report import Report, ReportFailed

# What a task fails with, and :func:`failure` makes it say.
_ERRORS = (ReportFailed, ApiError, InvalidValue, InvalidConnection, OutboxError, OSError)
_INFO_MODULE = "flashcat.flashduty.flashduty_change_info"
# Where a task is delegated to another host, these name files of that host.
_FILES_THERE = ("ca_path", "client_cert", "client_key")
_KEY_FILE = "integration_key_file"
_FOR_MODULE = ("validate_certs", "timeout", "plain_http_hosts", *_FILES_THERE)


class NotReported(Exception):
    """The task is to report nothing; the text says why, in the language that is set."""


class TaskAction(ActionBase):
    """An action that works on the control node, so that no other host has to be reached for it.

    :cvar OPTIONS: its options beside those of the connection.
    :cvar REQUIRED_IF: as that of an argument spec.
    :ivar notices: says what there is to say; the task returns the warnings.
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {}
    REQUIRED_IF: ClassVar[Sequence[Sequence[Any]]] = ()
    _requires_connection = False
    notices: Notices

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """What :meth:`work` returns, or why it fails."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.notices = Notices()
        spec = {**self.OPTIONS, **CONNECTION_OPTIONS}
        _unused, options = self.validate_argument_spec(spec, required_if=self.REQUIRED_IF)
        try:
            result.update(self.work(dict(options), task_vars or {}))
        except NotReported as reason:
            result.update(changed=False, msg=str(reason))
        except _ERRORS as error:
            result.update(failure(error, self.notices))
        result["warnings"] = [*result.get("warnings", ()), *self.notices.warnings()]
        if not self._task.diff:
            result.pop("diff", None)
        return result

    @abstractmethod
    def work(self, options: dict[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Do what the task is for, and return its result.

        :param options: those of the task, None where they are not given.
        :param task_vars: as ansible-core gives them to the action.
        """

    def settings(self, options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the callback, those of the task above them; what is said from now on is in their language.

        :raises InvalidConnection: naming the option or variable that cannot be used.
        """
        found = of_task(self, task_vars, options)
        self.notices.language = language_of(str(found["language"]), os.environ)
        return found

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


def failure(error: Exception, notices: Notices) -> dict[str, Any]:
    """What a task returns that fails with the text of the error alone."""
    more = error.result if isinstance(error, (ReportFailed, ApiError)) else {}
    return {**more, "failed": True, "msg": notices.said("failed", problem=error)}


def ansible_playbook() -> Process:
    """The process that runs the playbook, of which a task's is a fork."""
    main = multiprocessing.parent_process()
    return Process.of(main.pid if main is not None and main.pid is not None else os.getpid())


# Now, before the first fork and before a task can rename this machine.
ansible_playbook()
_options.prepare()


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
    :raises NotReported: where it reports a change and is not to.
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
        self._options = action.settings(options, task_vars)
        if reporting and not self._options["enabled"]:
            raise NotReported(action.notices.said("not-reported-off"))
        self.preview = bool(self._options["preview"])
        self.outcome_labels = bool(self._options["outcome_labels"])
        # The file of the key, where the other host is to read it.
        self._key_file = ""
        self.connection = self._connection_of(str(options.get(_KEY_FILE) or ""), reading)

    def _connection_of(self, key_file: str, reading: bool) -> Connection:
        options = self._options
        if self._action.runs_elsewhere:
            options = {**options, **dict.fromkeys(_FILES_THERE)}
            if key_file and not options.get("push_url") and not options.get("integration_key"):
                self._key_file = key_file
                return Connection.with_key_file_of(self._action._task.delegate_to, options, key_file)
        return Connection.for_reading(options) if reading else _options.connection_of(options)

    @property
    def state_dir(self) -> str:
        """The folder of the outbox."""
        return _options.state_dir(self._options)

    @property
    def only_look(self) -> bool:
        """Whether nothing is to be stored or sent."""
        return self.preview or bool(self._action._task.check_mode)

    @property
    def store(self) -> Store:
        """The outbox of this control node.

        :raises OutboxError: where this Python cannot open one.
        """
        if not self.preview:
            require_sqlite()
        return Store(self.state_dir, self.connection, ansible_playbook(), self.only_look)

    def delivery(self, store: Store) -> TaskDelivery:
        """How events get from the store to Flashduty."""
        if self._action.runs_elsewhere:
            return DelegatedDelivery(store, self._execute, self._for_module())
        return CourierDelivery(store, ansible_playbook())

    def report(self, options: Mapping[str, Any], run: CurrentRun | None, remote: RemoteState | None = None) -> Report:
        """The event that the options describe.

        :param run: the run that it belongs to, where it is part of a change of one.
        :raises InvalidValue: naming the field, the limit and the value.
        """
        store = self.store if run is None or run.store is None else run.store
        return Report(
            options,
            self.connection,
            store,
            self.delivery(store),
            ansible_playbook(),
            None if run is None else run.run,
            remote,
            self.outcome_labels,
            self._action.notices,
        )

    def previewed(self, report: Report) -> dict[str, Any]:
        """What the report would change; printed as well, where events are only shown."""
        result = report.preview()
        if self.preview and result["changed"]:
            show(self._action._display, result["event"], self._action.notices)
        return result

    def find(self, query: ChangeQuery) -> Found:
        """Ask Flashduty for changes, from a process of its own or from the host that the task is delegated to.

        :raises ApiError: where it could not be asked.
        """
        if not self._action.runs_elsewhere:
            return reader.find_changes(self.connection, query)
        result = self._execute(_INFO_MODULE, {**self._for_module(), **query.to_options()})
        if result.get("failed"):
            error = result.get("error") or {}
            status, code = error.get("http_status"), error.get("code")
            raise ApiError(str(result.get("msg")), False, status, code, result.get("request_id"))
        return Found(list(result["changes"]), int(result["total"]), bool(result["truncated"]))

    @property
    def remote_state(self) -> RemoteState | None:
        """What Flashduty shows of changes, read once for all hosts of a task; None without an app key."""
        if self.connection.app_key is None:
            return None
        # This folder lives as long as the run, and all its workers see it.
        folder = os.path.join(C.DEFAULT_LOCAL_TMP, "flashduty")
        return RemoteState(self.connection, self.find, folder, self._action.notices)

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
