# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import InvalidEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import OutboxError
from ansible_collections.flashcat.flashduty.plugins.module_utils._reporting import (
    CHANGE_OPTIONS,
    CONNECTION_OPTIONS,
    Report,
    ReportFailed,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._current_run import current_run
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._task import TaskConnection, runs_elsewhere


class ActionModule(ActionBase):
    """Reports from the control node; on another host only where the task is delegated to it."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Validate, store, deliver."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _unused, options = self.validate_argument_spec({**CHANGE_OPTIONS, **CONNECTION_OPTIONS})
        options = dict(options)
        try:
            where = TaskConnection(self, options, task_vars or {})
            run = self._joined(options, where.integration)
            if runs_elsewhere(self):
                return {**result, **self._execute_module(module_args=where.for_module(options), task_vars=task_vars)}
            if not where.enabled:
                return {**result, "skipped": True, "skip_reason": "flashduty_enabled is false"}
            report = Report(options, where.connection, where.folder, run)
            result.update(report.preview() if self._task.check_mode else report.send(where.wait))
            result["warnings"] = report.warnings + where.warnings
        except ReportFailed as error:
            result.update(error.result, failed=True, msg=str(error))
        except (InvalidEvent, InvalidConnection, OutboxError, OSError) as error:
            result.update(failed=True, msg=str(error))
        if not self._task.diff:
            result.pop("diff", None)
        return result

    @staticmethod
    def _joined(options: dict[str, Any], integration: Any) -> str | None:
        """Complete a task that names no change from the run's own, and return that run."""
        run = current_run()
        if options.get("change_key") or run is None or run.integration != integration():
            return None
        options["change_key"] = run.change_key
        options["title"] = options.get("title") or run.title
        options["link"] = options.get("link") or run.link
        options["labels"] = {**run.labels, **(options.get("labels") or {})}
        return run.run
