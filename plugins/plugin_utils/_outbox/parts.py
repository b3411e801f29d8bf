# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that share one change: how each came through it, and what that makes of the change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    DESCRIPTION_MAX,
    LABEL_VALUE_MAX,
    ChangeEvent,
    plain_text,
    shortened,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts import Text

_SHOWN = 20
# The courier says these as well, so they lie where it can read them.
_FAILED = Text("Failed: {host}: {text}", "失败：{host}：{text}")
_FAILED_ALONE = Text("Failed: {host}", "失败：{host}")
_LOST = Text("Not finished: {host}, it became unreachable or was stopped.", "未完成：{host}，该主机不可达或被中止。")
_MORE = Text("And {count} more hosts.", "另有 {count} 台主机。")
_DONE = Text("{done} of {all} hosts done.", "{all} 台主机中 {done} 台已完成。")
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


def concluded(
    parts: Iterable[Part], event: ChangeEvent, moment: float, vanished_text: str = ""
) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields of the event that ends a change of parts, and the labels of its outcome.

    Done where every host is done; a host that started and is heard of no more did not come through.

    :param event: the last one of that change.
    :param moment: when that ends which did not come through, Unix seconds.
    :param vanished_text: tells the language.
    """
    language = language_of(vanished_text)
    parts = list(parts)
    failed = [part for part in parts if part.outcome == "failed"]
    lost = [part for part in parts if part.outcome == "started"]
    at_fault = [*failed, *lost]
    lines = [(_FAILED if part.text else _FAILED_ALONE).said(language, part._asdict()) for part in failed]
    lines += [_LOST.said(language, part._asdict()) for part in lost]
    if len(lines) > _SHOWN:
        lines = [*lines[:_SHOWN], _MORE.said(language, {"count": len(lines) - _SHOWN})]
    lines.append(_DONE.said(language, {"done": len(parts) - len(at_fault), "all": len(parts)}))
    outcome = {"result": "failed" if failed else "stopped" if lost else "ok"}
    if at_fault:
        outcome["failed_host"] = shortened(",".join(part.host for part in at_fault), LABEL_VALUE_MAX)
        tasks = ",".join(dict.fromkeys(part.task for part in failed if part.task))
        outcome["failed_task"] = shortened(plain_text(tasks), _TASKS_MAX)
    fields = {
        "change_status": "Canceled" if at_fault else "Done",
        "description": described("\n".join(lines), event.description),
        "event_time": int(moment if at_fault else max(part.at for part in parts)),
    }
    return fields, {name: value for name, value in outcome.items() if value}


def described(text: str, description: str | None) -> str:
    """The description of the event that ends a change: how it ended, then what it was about."""
    whole = "\n".join(part for part in (text, description) if part)
    return shortened(plain_text(whole, lines=True), DESCRIPTION_MAX)


def language_of(text: str) -> str:
    """The language that a text of ours is in: zh where it has Chinese characters, otherwise en."""
    return "zh" if any(character > "\u2e7f" for character in text) else "en"
