# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""At which task a host failed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import plain_text, shortened
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import FailedTask, part_of

_MESSAGE_MAX = 300
# It runs the tasks of others, whose names need not begin with its own.
_OUR_ROLE = "flashcat.flashduty.tracked_change : "


def failed_task(result: Any, with_message: bool) -> FailedTask:
    """From what ``v2_runner_on_failed`` and ``v2_runner_on_unreachable`` get.

    Nothing else of the result is looked at: even where it is censored, its ``exception`` can hold secrets.
    """
    task = part_of(result, "task")
    # A template that nobody has worked out counts as true.
    hidden = bool(task.no_log)
    message = "" if hidden or not with_message else _message(part_of(result, "result"))
    return FailedTask(
        None if hidden else _raw_name(task),
        plain_text(str(task.action)),
        plain_text(os.path.basename(str(task.get_path() or ""))),
        message,
    )


def answers_a_failure(task: Any) -> bool:
    """Whether a task stands in the ``rescue`` section of a block: something else broke before it."""
    child, parent = task, task._parent
    while parent is not None:
        if any(each._uuid == child._uuid for each in getattr(parent, "rescue", ())):
            return True
        child, parent = parent, parent._parent
    return False


def _raw_name(task: Any) -> str:
    """The task's name with its templates as they stand: worked out, they could hold secrets, and speak of one host."""
    name, worked_out = str(task.get_name()), str(task.name or "")
    written = task.get_ds()
    raw = written.get("name") if isinstance(written, Mapping) else None
    if isinstance(raw, str) and worked_out:
        name = name.removesuffix(worked_out) + raw
    return plain_text(name.removeprefix(_OUR_ROLE)).strip()


def _message(result: Mapping[str, Any]) -> str:
    if "censored" in result:
        return ""
    # That of a loop only says that one of its items failed.
    items = result.get("results")
    failed = [item for item in items if _is_failed(item)] if isinstance(items, list) else []
    told = failed[0] if failed else result
    text = told.get("msg")
    if not isinstance(text, str) or "censored" in told or told.get("_ansible_no_log"):
        return ""
    return shortened(" ".join(plain_text(text).split()), _MESSAGE_MAX)


def _is_failed(item: Any) -> bool:
    # ansible-core 2.21 leaves `failed` out of the items.
    return isinstance(item, Mapping) and bool(item.get("failed") or item.get("unreachable") or "exception" in item)
