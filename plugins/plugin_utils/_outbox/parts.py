# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts that share one change: how each came through it, and what that makes of the change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    DESCRIPTION_MAX,
    LABEL_VALUE_MAX,
    ChangeEvent,
    plain_text,
    shortened,
)

_SHOWN = 20
# The courier says these as well, so they lie where it can read them.
_TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "failed": "Failed: {host}: {text}",
        "failed alone": "Failed: {host}",
        "lost": "Not finished: {host}, it became unreachable or was stopped.",
        "more": "And {count} more hosts.",
        "done": "{done} of {all} hosts done.",
    },
    "zh": {
        "failed": "失败：{host}：{text}",
        "failed alone": "失败：{host}",
        "lost": "未完成：{host}，该主机不可达或被中止。",
        "more": "另有 {count} 台主机。",
        "done": "{all} 台主机中 {done} 台已完成。",
    },
}
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
    texts = _TEXTS[language_of(vanished_text)]
    parts = list(parts)
    failed = [part for part in parts if part.outcome == "failed"]
    lost = [part for part in parts if part.outcome == "started"]
    at_fault = [*failed, *lost]
    lines = [texts["failed" if part.text else "failed alone"].format(host=part.host, text=part.text) for part in failed]
    lines += [texts["lost"].format(host=part.host) for part in lost]
    if len(lines) > _SHOWN:
        lines = [*lines[:_SHOWN], texts["more"].format(count=len(lines) - _SHOWN)]
    lines.append(texts["done"].format(done=len(parts) - len(at_fault), all=len(parts)))
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
