# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._argspec import CHANGE_OPTIONS, CONNECTION_OPTIONS
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._operator_variables import task_host
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import CurrentRun, current_runs
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.notices import notice
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.preview import show
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.action import (
    REPORT_ERRORS,
    TaskAction,
    TaskConnection,
    TurnedOff,
    ansible_playbook,
    failure,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.report import Report


class NothingToJoin(Exception):
    """The run's change has not begun."""


class ActionModule(TaskAction):
    """Reports from the control node; where the task is delegated to another host, that one sends."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Validate, compare, store, deliver."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _unused, options = self.validate_argument_spec({**CHANGE_OPTIONS, **CONNECTION_OPTIONS})
        options = dict(options)
        try:
            if options["cancel_on_exit"] and self.runs_elsewhere:
                raise InvalidConnection(
                    "cancel_on_exit", "needs the control node, leave out delegate_to or this option"
                )
            where = TaskConnection(self, options, task_vars or {}, reporting=True)
            run = self._joined(options, where, task_host(task_vars or {}))
            result.update(self._reported(options, where, run))
        except TurnedOff as off:
            result.update(changed=False, msg=str(off))
        except NothingToJoin:
            result.update(changed=False, msg=notice(where.language, "not-reported-yet"))
        except REPORT_ERRORS as error:
            result.update(failure(error))
        if not self._task.diff:
            result.pop("diff", None)
        return result

    def _reported(self, options: dict[str, Any], where: TaskConnection, run: CurrentRun | None) -> dict[str, Any]:
        store = where.store if run is None or run.store is None else run.store
        report = Report(
            options,
            where.connection,
            store,
            where.delivery(store),
            ansible_playbook(),
            None if run is None else run.run,
            None if run is not None or where.preview else where.remote_state,
            where.outcome_labels,
            where.language,
        )
        result = report.preview() if self._task.check_mode or where.preview else report.send()
        if where.preview and result["changed"]:
            show(self._display, result["event"], where.language)
        return {**result, "warnings": report.warnings}

    @staticmethod
    def _joined(options: dict[str, Any], where: TaskConnection, host: str) -> CurrentRun | None:
        """Complete a task that names no change from that of its host, and return the run.

        :raises NothingToJoin: where that change has not begun.
        """
        runs = current_runs()
        if options.get("change_key") or not runs:
            return None
        begun = [(run, change) for run in runs if (change := run.change_of(host)) is not None]
        if not begun:
            raise NothingToJoin
        for run, change in begun:
            if run.store is None or run.store.integration == where.connection.integration_id(run.store.salt):
                options["change_key"] = change.change_key
                options["title"] = options.get("title") or change.title
                options["link"] = options.get("link") or change.link
                options["labels"] = {**(options.get("labels") or {}), **change.labels}
                return run
        return None
