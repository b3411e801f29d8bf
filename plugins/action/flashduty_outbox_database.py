# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._argspec import OUTBOX_DATABASE_OPTIONS
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.action import TaskAction
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.options import outbox_of


class ActionModule(TaskAction):
    """Makes the tables of the shared outbox, from the control node: no key is needed for it."""

    OPTIONS = OUTBOX_DATABASE_OPTIONS

    def work(self, options: dict[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Make the tables, and let roles use them."""
        # psycopg is imported where somebody asks for it.
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox import shared_schema

        settings = self.settings(options, task_vars)
        url = outbox_of(settings).outbox_url
        if url is None:
            raise InvalidConnection(
                "outbox_url",
                "is not set, and names the PostgreSQL in which to make the tables. Set it, for example by the"
                " environment variable FLASHDUTY_OUTBOX_URL",
            )
        done = shared_schema.migrate(url, options["grant_to"], only_look=bool(self._task.check_mode))
        return {"changed": bool(done), "done": done}
