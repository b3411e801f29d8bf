# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which changes an alert would bring up, and why.

Flashduty publishes that changes relate to incidents by labels that both have and by closeness in time, and that an
incident has the labels of its first alert (https://docs.flashcat.cloud/en/on-call/incident/search-view-incident,
https://developer.flashcat.cloud/zh/flashduty/event-api/change-event). It publishes neither weights nor a window. What
is assumed here: a label is shared when key and value are equal, case included; more shared labels come first, and
among as many, the change that is closer in time; the window is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flashduty_sandbox.rules import CorrelateQuery

Moment = Literal["before", "during", "after"]
Resemblance = Literal["listed", "case", "other"]


@dataclass(frozen=True)
class Difference:
    """A label that both have with different values.

    `resemblance` says how far apart they are: "listed", the alert's value is one of those that the change joins by
    commas; "case", they differ in case or in spaces around them; "other".
    """

    key: str
    alert: str
    change: str
    resemblance: Resemblance


@dataclass(frozen=True)
class Match:
    """How an alert meets a change.

    `moment` says where the change lies, seen from the alert: it had ended "before", it was under way ("during"), or it
    started "after". `gap` is the time between them in seconds, 0 during.
    """

    change: Mapping[str, Any]
    shared: tuple[str, ...]
    differences: tuple[Difference, ...]
    moment: Moment
    gap: int


@dataclass(frozen=True)
class Ranking:
    """The changes that share a label with the alert, best first, and those that only nearly do, nearest first."""

    matches: Sequence[Match]
    near_misses: Sequence[Match]


def rank(changes: Sequence[Mapping[str, Any]], alert: CorrelateQuery) -> Ranking:
    """Rank `changes`, items of /change/list, for an alert; those farther than its window are left out."""
    met = [match for change in changes if (match := _meet(change, alert)).gap <= alert.window]

    def order(match: Match) -> tuple[int, int, int, str]:
        since_start = abs(alert.time - match.change["start_time"])
        return -len(match.shared), match.gap, since_start, match.change["change_key"]

    return Ranking(
        matches=sorted((match for match in met if match.shared), key=order),
        near_misses=sorted((match for match in met if not match.shared and _is_near(match)), key=order),
    )


def _meet(change: Mapping[str, Any], alert: CorrelateQuery) -> Match:
    labels = change["labels"]
    common = sorted(alert.labels.keys() & labels.keys())
    moment, gap = _distance(change, alert.time)
    return Match(
        change=change,
        shared=tuple(key for key in common if labels[key] == alert.labels[key]),
        differences=tuple(
            Difference(key, alert.labels[key], labels[key], _resemblance(alert.labels[key], labels[key]))
            for key in common
            if labels[key] != alert.labels[key]
        ),
        moment=moment,
        gap=gap,
    )


def _distance(change: Mapping[str, Any], time: int) -> tuple[Moment, int]:
    if change["start_time"] > time:
        return "after", change["start_time"] - time
    # A change in progress goes on until it is closed.
    if change["change_status"] == "Processing" or change["last_time"] >= time:
        return "during", 0
    return "before", time - change["last_time"]


def _resemblance(alert: str, change: str) -> Resemblance:
    def plain(text: str) -> str:
        return text.strip().casefold()

    if plain(alert) == plain(change):
        return "case"
    return "listed" if plain(alert) in map(plain, change.split(",")) else "other"


def _is_near(match: Match) -> bool:
    return any(difference.resemblance != "other" for difference in match.differences)
