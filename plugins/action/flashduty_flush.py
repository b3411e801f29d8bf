# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._argspec import CONNECTION_OPTIONS, FLUSH_OPTIONS
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import InvalidQuery
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.action import (
    TaskAction,
    TaskConnection,
    failure,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.flush import Flush


class ActionModule(TaskAction):
    """Flushes the outbox of the control node; where the task is delegated to another host, that one sends."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Close what vanished, deliver what waits."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _unused, options = self.validate_argument_spec({**FLUSH_OPTIONS, **CONNECTION_OPTIONS})
        try:
            where = TaskConnection(self, options, task_vars or {})
            store = where.store
            options["outcome_labels"] = where.outcome_labels
            flush = Flush(options, where.connection, store, where.delivery(store), where.find)
            only_look = self._task.check_mode or where.preview
            result.update(flush.preview() if only_look else flush.flush())
        except (InvalidQuery, InvalidConnection, OutboxError, OSError) as error:
            result.update(failure(error))
        return result
