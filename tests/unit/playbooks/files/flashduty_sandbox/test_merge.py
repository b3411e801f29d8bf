# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The events of a change merge as Flashduty documents it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sandbox_client import (
    KEY,
    OTHER_KEY,
    taken,
)

from flashduty_sandbox.receiver import Receiver


def the_change(receiver: Receiver) -> dict[str, Any]:
    (change,) = receiver.changes()
    return change


def test_events_of_one_key_merge(receiver: Receiver) -> None:
    taken(receiver, event_time=100, title="one", description="d1", link="l1", labels={"a": "1"})
    first = the_change(receiver)
    assert first["end_time"] == 0
    taken(receiver, event_time=150, title="two", labels={"b": "2"})
    taken(receiver, event_time=200, change_status="Done", title="three", description="")
    change = the_change(receiver)
    assert change["change_id"] == first["change_id"]
    assert re.fullmatch(r"[0-9a-f]{24}", change["change_id"])
    assert {name: change[name] for name in ("title", "description", "link", "labels", "change_status")} == {
        "title": "three",
        "description": "",
        "link": "l1",
        "labels": {"b": "2"},
        "change_status": "Done",
    }
    assert (change["start_time"], change["end_time"], change["last_time"]) == (100, 200, 200)
    assert [event["title"] for event in change["events"]] == ["one", "two", "three"]
    assert change["event_count"] == 3


@pytest.mark.parametrize(
    ("events", "status", "times"),
    [
        # Which event happened last decides, not which one arrived last.
        ([("Done", 200), ("Processing", 100)], "Done", (100, 200, 200)),
        ([("Processing", 100), ("Done", 100)], "Done", (100, 100, 100)),
        ([("Done", 100), ("Processing", 100)], "Processing", (100, 0, 100)),
        # A terminal change that goes on is open again.
        ([("Processing", 100), ("Canceled", 200), ("Processing", 300)], "Processing", (100, 0, 300)),
        # It starts with the first Processing; without one, with its first event.
        ([("Planned", 50), ("Processing", 100), ("Processing", 90)], "Processing", (90, 0, 100)),
        ([("Processing", 100), ("Planned", 50)], "Processing", (100, 0, 100)),
        ([("Ready", 80), ("Planned", 50), ("Done", 300)], "Done", (50, 300, 300)),
    ],
)
def test_status_and_times_of_a_change(
    receiver: Receiver, events: list[tuple[str, int]], status: str, times: tuple[int, int, int]
) -> None:
    for change_status, event_time in events:
        taken(receiver, change_status=change_status, event_time=event_time)
    change = the_change(receiver)
    assert change["change_status"] == status
    assert (change["start_time"], change["end_time"], change["last_time"]) == times


def test_integrations_and_keys_do_not_merge(receiver: Receiver) -> None:
    taken(receiver, KEY)
    taken(receiver, OTHER_KEY)
    taken(receiver, KEY, change_key="change-1")
    changes = receiver.changes()
    assert [(change["integration_id"], change["change_key"]) for change in changes] == [
        (receiver.integration_id(KEY), "CHANGE-1"),
        (receiver.integration_id(OTHER_KEY), "CHANGE-1"),
        (receiver.integration_id(KEY), "change-1"),
    ]
