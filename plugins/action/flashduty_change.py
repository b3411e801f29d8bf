# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_file import salt_of
from ansible_collections.flashcat.flashduty.plugins.module_utils._reporting import (
    CHANGE_OPTIONS,
    CONNECTION_OPTIONS,
    Report,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._operator_variables import task_host
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import CurrentRun, current_run
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.preview import document
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.action import (
    REPORT_ERRORS,
    TaskAction,
    TaskConnection,
    TurnedOff,
    ansible_playbook,
    failure,
)


class NothingToJoin(Exception):
    """The run's change has not begun."""


class ActionModule(TaskAction):
    """Reports from the control node; on another host only where the task is delegated to it."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Validate, store, deliver."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _unused, options = self.validate_argument_spec({**CHANGE_OPTIONS, **CONNECTION_OPTIONS})
        options = dict(options)
        try:
            where = TaskConnection(self, options, task_vars or {}, reporting=True)
            run = self._joined(options, where, task_host(task_vars or {}))
            if where.preview:
                result.update(self._previewed(options, where, run))
            elif self.runs_elsewhere:
                result.update(self._execute_module(module_args=where.for_module(options), task_vars=task_vars))
            else:
                result.update(self._reported(options, where, run))
        except TurnedOff as off:
            result.update(skipped=True, skip_reason=str(off))
        except NothingToJoin:
            result.update(skipped=True, skip_reason="nothing has changed yet, so there is no change to report to")
        except REPORT_ERRORS as error:
            result.update(failure(error))
        if not self._task.diff:
            result.pop("diff", None)
        return result

    def _reported(self, options: dict[str, Any], where: TaskConnection, run: CurrentRun | None) -> dict[str, Any]:
        folder = where.folder if run is None else run.folder
        shown = where.shown_state if run is None else None
        report = Report(options, where.connection, folder, None if run is None else run.run, shown, ansible_playbook())
        result = report.preview() if self._task.check_mode else report.send(where.wait)
        return {**result, "warnings": report.warnings}

    def _previewed(self, options: dict[str, Any], where: TaskConnection, run: CurrentRun | None) -> dict[str, Any]:
        report = Report(options, where.connection, where.folder, None if run is None else run.run)
        result = report.preview()
        if result["changed"]:
            self._display.display(document(result["event"]))
        return result

    @staticmethod
    def _joined(options: dict[str, Any], where: TaskConnection, host: str) -> CurrentRun | None:
        """Complete a task that names no change from that of its host, and return the run.

        :raises NothingToJoin: where that change has not begun.
        """
        run = current_run()
        if options.get("change_key") or run is None:
            return None
        change = run.change_of(host)
        if change is None:
            raise NothingToJoin
        if not where.preview and run.integration != where.connection.integration_id(salt_of(run.folder)):
            return None
        options["change_key"] = change.change_key
        options["title"] = options.get("title") or change.title
        options["link"] = options.get("link") or change.link
        options["labels"] = {**change.labels, **(options.get("labels") or {})}
        return run
