# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Notes when a run starts its first task and has its last result; the same beside every reporter that is compared."""

from __future__ import annotations

DOCUMENTATION = r"""
name: stopwatch
type: aggregate
short_description: Note when the tasks of a run start and end
description: Writes the moments to the file that E(BENCH_STOPWATCH) names.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """The moments are those of the system's monotonic clock, in seconds."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "stopwatch"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._first_task: float | None = None
        self._last_result = 0.0

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        if self._first_task is None:
            self._first_task = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        self._last_result = time.monotonic()

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._last_result = time.monotonic()

    def v2_playbook_on_stats(self, stats: Any) -> None:
        moments = {
            "first_task": self._first_task,
            "last_result": self._last_result,
            "requests_imported": "requests" in sys.modules,
        }
        Path(os.environ["BENCH_STOPWATCH"]).write_text(json.dumps(moments), encoding="utf-8")
