# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._argspec import CONNECTION_OPTIONS, OUTBOX_OPTIONS
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import language_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.action import TaskAction, failure
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.outbox_listing import listing


class ActionModule(TaskAction):
    """Shows the outbox of the control node, of all integrations: no key is needed for it."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """List the events, and resend or drop refused ones."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _unused, given = self.validate_argument_spec({**OUTBOX_OPTIONS, **CONNECTION_OPTIONS})
        options = _options.with_task_options(_options.of_task(self, task_vars or {}), given)
        try:
            language = language_of(str(options["language"]), os.environ)
            result.update(listing(_options.state_dir(options), given, bool(self._task.check_mode), language))
        except (OutboxError, OSError) as error:
            result.update(failure(error))
        return result
