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
from typing import Any, Literal, NamedTuple

from flashduty_sandbox.rules import CorrelateQuery

Moment = Literal["before", "during", "after"]
Resemblance = Literal["listed", "case", "other"]


@dataclass(frozen=True)
class Match:
    """How an alert meets a change.

    `shared` are the keys of labels that are equal. `differing` are those that both have with different values, and how
    far apart these are: "listed", the alert's value is one of those that the change joins by commas; "case", they
    differ in case or in spaces around them; "other". `moment` says where the change lies, seen from the alert: it had
    ended "before", it was under way ("during"), or it started "after"; `gap` is the time between them in seconds.
    """

    change: Mapping[str, Any]
    shared: list[str]
    differing: dict[str, Resemblance]
    moment: Moment
    gap: int


class Ranking(NamedTuple):
    """The changes that share a label with the alert, best first, and those that only nearly do, nearest first.

    `considered` says how many changes there are in the alert's window.
    """

    matches: list[Match]
    near_misses: list[Match]
    considered: int


def rank(changes: Sequence[Mapping[str, Any]], alert: CorrelateQuery) -> Ranking:
    """Rank `changes`, items of /change/list, for an alert; those farther than its window are left out."""

    def order(match: Match) -> tuple[int, int, int, str]:
        since_start = abs(alert.time - match.change["start_time"])
        return -len(match.shared), match.gap, since_start, match.change["change_key"]

    met = sorted((match for change in changes if (match := _meet(change, alert)).gap <= alert.window), key=order)
    return Ranking(
        matches=[match for match in met if match.shared],
        near_misses=[match for match in met if not match.shared and set(match.differing.values()) - {"other"}],
        considered=len(met),
    )


def _meet(change: Mapping[str, Any], alert: CorrelateQuery) -> Match:
    labels = change["labels"]
    common = sorted(alert.labels.keys() & labels.keys())
    shared = [key for key in common if labels[key] == alert.labels[key]]
    differing = {key: _resemblance(alert.labels[key], labels[key]) for key in common if key not in shared}
    return Match(change, shared, differing, *_distance(change, alert.time))


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
