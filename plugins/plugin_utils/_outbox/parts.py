# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that share one change: how each came through it, and what that makes of the change.

Private to this collection; may change in any release.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    DESCRIPTION_MAX,
    LABEL_VALUE_MAX,
    plain_text,
    shortened,
)

_SHOWN = 20
_TASKS_MAX = 256


class Part(NamedTuple):
    """One host's part in a change.

    :ivar outcome: started, done or failed.
    :ivar text: what there is to say about it.
    :ivar task: the task that failed.
    :ivar at: since when it is so, Unix seconds.
    """

    host: str
    outcome: str
    text: str
    task: str
    at: float


class Conclusion(NamedTuple):
    """What the parts make of the change.

    :ivar at: when the last host was through, Unix seconds.
    :ivar outcome: the labels of the outcome.
    """

    change_status: str
    text: str
    at: float
    outcome: Mapping[str, str]

    @classmethod
    def of(cls, parts: Iterable[Part]) -> Conclusion:
        """Done where every host is done; a host that started and is heard of no more did not come through."""
        parts = list(parts)
        failed = [part for part in parts if part.outcome == "failed"]
        lost = [part for part in parts if part.outcome == "started"]
        done = len(parts) - len(failed) - len(lost)
        lines = [f"Failed: {part.host}{': ' if part.text else ''}{part.text}" for part in failed]
        lines += [f"Not finished: {part.host}, it became unreachable or was stopped." for part in lost]
        if len(lines) > _SHOWN:
            lines = [*lines[:_SHOWN], f"And {len(lines) - _SHOWN} more hosts."]
        lines.append(f"{done} of {len(parts)} hosts done.")
        status = "Canceled" if failed or lost else "Done"
        outcome: dict[str, str] = {"result": "failed" if failed else "stopped" if lost else "ok"}
        if failed or lost:
            outcome["failed_host"] = shortened(",".join(part.host for part in [*failed, *lost]), LABEL_VALUE_MAX)
            tasks = ",".join(dict.fromkeys(part.task for part in failed if part.task))
            outcome["failed_task"] = shortened(plain_text(tasks), _TASKS_MAX)
        said = {name: value for name, value in outcome.items() if value}
        return cls(status, "\n".join(lines), max(part.at for part in parts), said)


def described(text: str, description: str | None) -> str:
    """The description of the event that ends a change: how it ended, then what it was about."""
    whole = "\n".join(part for part in (text, description) if part)
    return shortened(plain_text(whole, lines=True), DESCRIPTION_MAX)
