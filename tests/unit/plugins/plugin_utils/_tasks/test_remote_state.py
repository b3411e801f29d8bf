# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An event compared with what Flashduty shows; what Flashduty answers is played, who asks whom is real."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import (
    ChangeQuery,
    Found,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import LastEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.remote_state import RemoteState

CONNECTION = Connection("http://127.0.0.1:1", "key", timeout=20.0, app_key="app")
DAY = 86400
# One in which nothing can be kept.
NO_FOLDER = os.devnull
LONG_AGO = int(time.time()) - DAY


class Flashduty:
    """Answers with what it is told to."""

    def __init__(self, *changes: dict[str, Any], fails: bool = False) -> None:
        self.changes = list(changes)
        self.fails = fails
        self.asked = 0

    def find(self, query: ChangeQuery) -> Found:
        self.asked += 1
        time.sleep(0.05)
        if self.fails:
            raise ApiError("it is on fire", retry=True)
        return Found(self.changes, len(self.changes), False)


def event(**fields: Any) -> ChangeEvent:
    values = {"change_key": "a", "change_status": "Done", "title": "Upgrade", "labels": {"service": "shop"}, **fields}
    return ChangeEvent.validated(values, time.time())


def change(**fields: Any) -> dict[str, Any]:
    shown = {"change_key": "a", "change_status": "Done", "title": "Upgrade", "description": "by hand", "link": ""}
    return {**shown, "labels": {"service": "shop"}, "last_time": LONG_AGO, **fields}


def known(same: bool, at: int = LONG_AGO, pending: bool = False) -> LastEvent:
    return LastEvent(same, pending, at, None if pending else float(at), None)


def differs(shown: Flashduty, wanted: ChangeEvent, before: LastEvent | None = None) -> bool | None:
    compared = RemoteState(CONNECTION, shown.find, NO_FOLDER, Notices()).compare(wanted, before)
    return None if compared is None else compared[0]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, False),
        ({"description": "by hand"}, False),
        ({"description": "by a robot"}, True),
        ({"title": "Downgrade"}, True),
        ({"link": "https://ticket"}, True),
        ({"change_status": "Canceled"}, True),
        ({"labels": {}}, False),
        ({"labels": {"service": "shop", "host": "w1"}}, True),
        ({"event_time": LONG_AGO}, False),
        ({"event_time": LONG_AGO + 1}, True),
    ],
)
def test_what_the_event_gives_is_compared(wanted: dict[str, Any], expected: bool) -> None:
    assert differs(Flashduty(change()), event(**wanted)) is expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"title": "Downgrade", "description": "by a robot", "link": "https://ticket"}, False),
        ({"labels": {"service": "shop", "result": "ok"}}, False),
        ({"labels": {"service": "billing"}}, True),
        ({"change_status": "Canceled"}, True),
    ],
)
def test_the_text_of_an_earlier_event_and_the_outcome_are_not_compared(wanted: dict[str, Any], expected: bool) -> None:
    shown = change(start_time=LONG_AGO - 60, labels={"service": "shop", "result": "failed"})
    assert differs(Flashduty(shown), event(**wanted)) is expected


@pytest.mark.parametrize(("events", "expected"), [([{}, {}], False), ([{}], True), ([], True), (None, True)])
def test_the_text_counts_where_the_event_is_the_only_one(events: Any, expected: bool) -> None:
    # A ticket that was planned, and has just begun: the text is that of the plan.
    shown = change(change_status="Processing", start_time=LONG_AGO, events=events)
    assert differs(Flashduty(shown), event(change_status="Processing", description="now")) is expected


def test_an_event_that_was_dated_later_than_it_was_asked_for_is_known() -> None:
    asked = event(event_time=LONG_AGO - 1)
    assert differs(Flashduty(change()), asked, known(True)) is False
    assert differs(Flashduty(change()), asked, known(False)) is True


def test_a_change_that_flashduty_does_not_know_is_reported() -> None:
    assert differs(Flashduty(), event()) is True
    assert differs(Flashduty(), event(), known(True)) is True


def test_one_that_is_older_than_flashduty_was_asked_about_is_the_outboxs() -> None:
    assert differs(Flashduty(), event(), known(True, LONG_AGO - 40 * DAY)) is None


def test_of_two_integrations_with_that_key_both_must_say_the_same() -> None:
    assert differs(Flashduty(change(), change(change_status="Processing")), event()) is True
    assert differs(Flashduty(change(), change(integration_id=7)), event()) is False


def test_our_own_last_word_counts_as_it_was_sent() -> None:
    enriched = change(labels={"service": "shop", "tier": "gold"})
    assert differs(Flashduty(enriched), event(), known(True)) is False
    assert differs(Flashduty(enriched), event(), known(False)) is True
    # Somebody else has spoken since.
    assert differs(Flashduty(enriched), event(), known(True, LONG_AGO - 1)) is True
    assert differs(Flashduty(change(change_status="Processing")), event(), known(True)) is True


def test_what_still_waits_is_known_better_here() -> None:
    shown = Flashduty(change())
    assert differs(shown, event(), known(False, pending=True)) is None
    assert shown.asked == 0


def test_many_at_once_ask_once_and_what_was_delivered_since_counts(tmp_path: Path) -> None:
    shown = Flashduty()
    answers: list[tuple[bool, ChangeEvent | None] | None] = []

    def task() -> None:
        state = RemoteState(CONNECTION, shown.find, str(tmp_path / "shown"), Notices())
        with state.alone(event()):
            delivered = known(True, int(time.time()) + 1) if answers else None
            answers.append(state.compare(event(), delivered))

    tasks = [threading.Thread(target=task) for _number in range(20)]
    for each in tasks:
        each.start()
    for each in tasks:
        each.join()
    assert (shown.asked, answers.count(None), len(answers)) == (1, 19, 20)


def test_what_failed_is_told_once_and_not_tried_by_each(tmp_path: Path) -> None:
    shown = Flashduty(fails=True)
    told = [Notices() for _number in range(3)]
    for notices in told:
        state = RemoteState(CONNECTION, shown.find, str(tmp_path / "shown"), notices)
        with state.alone(event()):
            assert state.compare(event(), None) is None
    assert shown.asked == 1
    (warning,), *others = [notices.warnings() for notices in told]
    assert ("it is on fire" in warning, others) == (True, [[], []])


def test_where_nothing_can_be_kept_each_asks(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    shown = Flashduty(change())
    state = RemoteState(CONNECTION, shown.find, str(file / "shown"), Notices())
    for _number in range(2):
        with state.alone(event()):
            assert state.compare(event(), None) is not None
    assert shown.asked == 2
