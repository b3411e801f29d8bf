# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._argspec import OUTBOX_OPTIONS
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.action import TaskAction
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.options import outbox_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.outbox_listing import listing


class ActionModule(TaskAction):
    """Shows the outbox of the control node, of all integrations: no key is needed for it."""

    OPTIONS = OUTBOX_OPTIONS

    def work(self, options: dict[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """List the events, and resend or drop refused ones."""
        settings = self.settings(options, task_vars)
        only_look = bool(self._task.check_mode)
        return listing(_options.state_dir(settings), options, only_look, outbox_of(settings), self.notices)
