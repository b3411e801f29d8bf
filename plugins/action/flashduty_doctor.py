# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection, InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.action import TaskAction
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.doctor import examine
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.doctor_settings import configured_origins
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.finding import Finding, Found
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.inventory import Inventory
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.options import outbox_of


class ActionModule(TaskAction):
    """Looks at the control node, for that is what reports."""

    def work(self, options: dict[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Look at everything, and say what to do."""
        try:
            settings = self.settings(options, task_vars)
        except InvalidConnection as error:
            # The rest hangs on this one.
            finding = Found("setting-invalid", problem=error).said(self.notices.language)
            return _told([finding], str, self.notices.language)
        given = {name: value for name, value in options.items() if value is not None}
        origins = configured_origins()
        for name in settings:
            if name in given:
                origins[name] = "the task"
            elif settings[name] is not None and f"flashduty_{name}" in task_vars:
                origins[name] = f"the variable flashduty_{name}"
        inventory = Inventory(self, given)
        findings = examine(settings, origins, {*task_vars}, inventory, self.notices.language)
        return _told(findings, _redaction(settings, inventory.connections), self.notices.language)


def _told(findings: Sequence[Finding], redact: Callable[[str], str], language: str) -> dict[str, Any]:
    return {
        "changed": False,
        "healthy": all(finding.state != "fail" for finding in findings),
        "findings": [{name: redact(value) for name, value in finding._asdict().items()} for finding in findings],
        "lines": [redact(finding.line(language)) for finding in findings],
    }


def _redaction(options: Mapping[str, Any], connections: Sequence[Connection]) -> Callable[[str], str]:
    for made in (Connection.from_options, outbox_of):
        with suppress(InvalidConnection):
            connections = [made(options), *connections]
    return lambda text: functools.reduce(lambda left, connection: connection.redact(left), connections, text)
