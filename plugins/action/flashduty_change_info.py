# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._argspec import QUERY_OPTIONS
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import changes_found
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import current_runs
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.action import TaskAction, TaskConnection


class ActionModule(TaskAction):
    """Reads from the control node; from another host only where the task is delegated to it."""

    OPTIONS = QUERY_OPTIONS

    def work(self, options: dict[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Ask, and return what was found."""
        found = changes_found(options, TaskConnection(self, options, task_vars, reading=True).find)
        if not options["include_own"]:
            own = _own_keys()
            found["changes"] = [change for change in found["changes"] if change["change_key"] not in own]
        return found


def _own_keys() -> set[str]:
    """The keys of the changes that the callback has reported for this run."""
    keys: set[str] = set()
    for run in current_runs():
        if run.store is not None:
            keys |= run.store.look(lambda outbox, run=run: outbox.events.keys_of(run.run))  # type: ignore[misc]
    return keys
