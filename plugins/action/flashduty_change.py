# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._argspec import CHANGE_OPTIONS
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import CurrentRun, current_runs
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.action import (
    NotReported,
    TaskAction,
    TaskConnection,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.options import task_host


class ActionModule(TaskAction):
    """Reports from the control node; where the task is delegated to another host, that one sends."""

    OPTIONS = CHANGE_OPTIONS

    def work(self, options: dict[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Validate, compare, store, deliver."""
        if options["cancel_on_exit"] and self.runs_elsewhere:
            raise InvalidConnection("cancel_on_exit", "needs the control node, leave out delegate_to or this option")
        where = TaskConnection(self, options, task_vars, reporting=True)
        run = self._joined(options, where, task_host(task_vars))
        report = where.report(options, run, None if run is not None or where.preview else where.remote_state)
        return where.previewed(report) if where.only_look else report.send()

    def _joined(self, options: dict[str, Any], where: TaskConnection, host: str) -> CurrentRun | None:
        """Complete a task that names no change from that of its host, and return the run.

        :raises NotReported: where that change has not begun.
        """
        runs = current_runs()
        if options.get("change_key") or not runs:
            return None
        begun = [(run, change) for run in runs if (change := run.change_of(host)) is not None]
        if not begun:
            raise NotReported(self.notices.said("not-reported-yet"))
        for run, change in begun:
            if run.store is None or run.store.integration == where.connection.integration_id(run.store.salt):
                options["change_key"] = change.change_key
                options["title"] = options.get("title") or change.title
                options["link"] = options.get("link") or change.link
                options["labels"] = {**(options.get("labels") or {}), **change.labels}
                return run
        return None
