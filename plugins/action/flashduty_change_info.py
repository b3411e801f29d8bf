# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._argspec import CONNECTION_OPTIONS, QUERY_OPTIONS
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import (
    InvalidQuery,
    ReadingFailed,
    changes_found,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import current_runs
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.action import (
    TaskAction,
    TaskConnection,
    failure,
)


class ActionModule(TaskAction):
    """Reads from the control node; from another host only where the task is delegated to it."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask, and return what was found."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _unused, options = self.validate_argument_spec({**QUERY_OPTIONS, **CONNECTION_OPTIONS})
        try:
            where = TaskConnection(self, options, task_vars or {}, reading=True)
            if self.runs_elsewhere:
                result.update(where.query_there({name: options[name] for name in QUERY_OPTIONS}))
            else:
                result.update(changes_found(options, where.find))
            if not options["include_own"] and "changes" in result:
                own = _own_keys()
                result["changes"] = [change for change in result["changes"] if change["change_key"] not in own]
        except (ReadingFailed, InvalidQuery, InvalidConnection, OutboxError) as error:
            result.update(failure(error))
        return result


def _own_keys() -> set[str]:
    """The keys of the changes that the callback has reported for this run."""
    keys: set[str] = set()
    for run in current_runs():
        if run.store is not None:
            keys |= run.store.look(lambda outbox, _integration, run=run: outbox.events.keys_of(run.run))  # type: ignore[misc]
    return keys
