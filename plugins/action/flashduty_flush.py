# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._argspec import CONNECTION_OPTIONS, FLUSH_OPTIONS
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import InvalidValue
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import MissingKey
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.action import TaskAction, TaskConnection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.flush import Flush, flush_all, preview_all
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.inventory import (
    Inventory,
    integration_of,
    names_of,
)


class ActionModule(TaskAction):
    """Flushes the outbox of the control node; where the task is delegated to another host, that one sends."""

    OPTIONS = FLUSH_OPTIONS

    def work(self, options: dict[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Close what vanished, deliver what waits."""
        several = self._integrations(options, task_vars)
        first = several[0]
        for option in ("adopt", "stale_after") if len(several) > 1 else ():
            if options.get(option):
                raise InvalidValue(
                    option,
                    "is for one integration, and the inventory names several: say which by"
                    " -e flashduty_push_url=PUSH_URL",
                )
        names = names_of(first.state_dir, [each.connection for each in several])
        flushes = []
        for where in several:
            store = where.store
            given = {**options, "outcome_labels": where.outcome_labels}
            flush = Flush(
                given if where is first else {**given, "drop": None},
                where.connection,
                store,
                where.delivery(store),
                where.find,
                self.notices,
                [each.connection for each in several if each is not where],
            )
            flushes.append((names[integration_of(where.connection)], flush))
        if first.only_look:
            return preview_all(flushes, self.notices)
        return flush_all(flushes, float(options["wait"]), self.notices)

    def _integrations(self, options: dict[str, Any], task_vars: Mapping[str, Any]) -> list[TaskConnection]:
        """That of the task, and those that variables of the inventory's hosts name.

        :raises MissingKey: where there is none.
        """
        found: list[TaskConnection] = []
        with suppress(MissingKey):
            found.append(TaskConnection(self, options, task_vars))
        given = {name: options[name] for name in CONNECTION_OPTIONS if options.get(name) is not None}
        for connection in Inventory(self, given).connections:
            if integration_of(connection) not in [integration_of(each.connection) for each in found]:
                where = {name: getattr(connection, name) for name in ("api_url", "integration_key", "outbox_url")}
                found.append(TaskConnection(self, {**options, **where}, task_vars))
        # Without any, this says what is missing.
        return found or [TaskConnection(self, options, task_vars)]
