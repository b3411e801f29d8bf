# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The events of a change merge as Flashduty documents it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_client import APP, EVENT, KEY, OTHER_KEY, ask, call, listed, push, taken

from flashduty_sandbox import merge, rules
from flashduty_sandbox.receiver import Receiver


def the_change(receiver: Receiver) -> dict[str, Any]:
    (change,) = receiver.changes()
    return change


@pytest.fixture
def last(tmp_path: Path) -> Iterator[Receiver]:
    """A sandbox where every field follows the last event."""
    with Receiver(tmp_path / "last.db", [KEY], [APP], merge="last") as running:
        yield running


@pytest.fixture(params=merge.MODES)
def either(request: pytest.FixtureRequest) -> Receiver:
    """One of each kind."""
    return request.getfixturevalue("receiver" if request.param == "first" else "last")  # type: ignore[no-any-return]


def test_every_field_follows_the_last_event_where_that_is_asked_for(last: Receiver) -> None:
    taken(last, event_time=100, title="one", description="d1", link="l1", labels={"a": "1"})
    first = the_change(last)
    assert first["end_time"] == 0
    taken(last, event_time=150, title="two", labels={"b": "2"})
    taken(last, event_time=200, change_status="Done", title="three", description="")
    change = the_change(last)
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
    # Nothing is discarded.
    taken(last, event_time=200, change_status="Done", title="four")
    assert [event["discarded"] for event in last.events()] == [None] * 4


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
    either: Receiver, events: list[tuple[str, int]], status: str, times: tuple[int, int, int]
) -> None:
    for change_status, event_time in events:
        taken(either, change_status=change_status, event_time=event_time)
    change = the_change(either)
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


# ---- as Flashduty documents it, in the words of its pages


def texts(change: dict[str, Any]) -> tuple[str, str, str]:
    return change["title"], change["description"], change["link"]


def test_title_description_and_link_are_those_of_the_first_event(receiver: Receiver) -> None:
    taken(receiver, event_time=100, title="one", description="d1", link="l1")
    taken(receiver, event_time=200, title="two", description="d2", link="l2", change_status="Done")
    change = the_change(receiver)
    assert texts(change) == ("one", "d1", "l1")
    assert [event["ignored"] for event in receiver.events()] == [[], ["title", "description", "link"]]


def test_what_the_first_event_left_out_is_not_filled_in(receiver: Receiver) -> None:
    taken(receiver, event_time=100)
    taken(receiver, event_time=200, description="d2", link="l2")
    assert texts(the_change(receiver)) == ("deploy", "", "")


def test_the_first_event_is_the_one_that_arrived_first(receiver: Receiver) -> None:
    taken(receiver, event_time=200, title="arrived first")
    taken(receiver, event_time=100, title="happened first")
    change = the_change(receiver)
    assert (change["title"], change["start_time"]) == ("arrived first", 100)


def test_status_and_labels_follow_later_events(receiver: Receiver) -> None:
    taken(receiver, event_time=100, labels={"service": "shop", "phase": "start"})
    taken(receiver, event_time=150)
    assert the_change(receiver)["labels"] == {"service": "shop", "phase": "start"}
    taken(receiver, event_time=200, change_status="Canceled", labels={"service": "shop", "result": "failed"})
    change = the_change(receiver)
    assert (change["change_status"], change["labels"]) == ("Canceled", {"service": "shop", "result": "failed"})
    taken(receiver, event_time=300, change_status="Done", labels={})
    assert the_change(receiver)["labels"] == {}


def test_an_event_that_happened_before_the_last_one_overwrites_neither(receiver: Receiver) -> None:
    taken(receiver, event_time=200, change_status="Done", labels={"result": "ok"})
    taken(receiver, event_time=199, labels={"result": "unknown"})
    change = the_change(receiver)
    assert (change["change_status"], change["labels"], change["event_count"]) == ("Done", {"result": "ok"}, 2)
    assert receiver.events()[1]["ignored"] == ["change_status", "labels"]
    # In the same second it does.
    taken(receiver, event_time=200, change_status="Canceled", labels={"result": "failed"})
    change = the_change(receiver)
    assert (change["change_status"], change["labels"]) == ("Canceled", {"result": "failed"})


def test_one_event_of_a_status_and_second_is_recorded(receiver: Receiver) -> None:
    taken(receiver, event_time=100, labels={"phase": "1"})
    request_id = taken(receiver, event_time=100, title="again", labels={"phase": "2"})
    change = the_change(receiver)
    assert (change["title"], change["labels"], change["event_count"]) == ("deploy", {"phase": "1"}, 1)
    recorded, discarded = receiver.events()
    assert (recorded["discarded"], discarded["request_id"]) == (None, request_id)
    assert "same status and the same second" in discarded["discarded"]
    assert [event["request_id"] for event in change["events"]] == [recorded["request_id"]]
    (item,) = listed(receiver, start_time=1, end_time=1000, include_events=True)["items"]
    assert len(item["events"]) == 1


def test_another_status_second_key_or_integration_is_another_event(receiver: Receiver) -> None:
    taken(receiver, event_time=100)
    others: list[dict[str, Any]] = [
        {"change_status": "Planned"},
        {"event_time": 101},
        {"event_time": 99},
        {"change_key": "C"},
    ]
    for fields in others:
        taken(receiver, **{"event_time": 100, **fields})
    taken(receiver, OTHER_KEY, event_time=100)
    assert [event["discarded"] for event in receiver.events()] == [None] * 6


def test_an_event_without_a_time_is_discarded_by_the_second_of_its_arrival(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_700_000_000.2
    monkeypatch.setattr("flashduty_sandbox.flashduty_api.time.time", lambda: now)
    body = {name: value for name, value in EVENT.items() if name != "event_time"}
    for later in (0.0, 0.7, 0.9):
        now = 1_700_000_000.2 + later
        assert ask(receiver.push_url(KEY), body).status == 200
    assert [event["discarded"] is not None for event in receiver.events()] == [False, True, False]


@pytest.mark.parametrize("status", ["Done", "Canceled", "Failed"])
def test_an_end_sets_the_end_time_and_a_later_event_reopens_the_change(receiver: Receiver, status: str) -> None:
    native(receiver, event_time=100)
    native(receiver, event_time=200, change_status=status)
    change = the_change(receiver)
    assert (change["change_status"], change["end_time"]) == (status, 200)
    native(receiver, event_time=300)
    again = the_change(receiver)
    assert (again["change_status"], again["end_time"], again["change_id"]) == ("Processing", 0, change["change_id"])


def native(receiver: Receiver, **fields: Any) -> None:
    assert call(receiver, "POST", "/sandbox/native", {**EVENT, **fields}).status == 200


def test_failed_is_no_status_of_a_push_but_one_to_read(receiver: Receiver) -> None:
    assert push(receiver, change_status="Failed").verdict == (400, "InvalidParameter")
    native(receiver, change_status="Failed", event_time=1_700_000_001)
    (item,) = listed(receiver)["items"]
    assert (item["change_status"], item["end_time"]) == ("Failed", 1_700_000_001)
    assert item["integration_name"].startswith("native")
    # A change of the same key at an integration of ours is another one.
    taken(receiver)
    assert len(receiver.changes()) == 2
    assert call(receiver, "POST", "/sandbox/native", {**EVENT, "change_status": "Nope"}).status == 400


@pytest.fixture
def routed(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "r.db", [KEY], [APP], route_label="team") as running:
        yield running


def test_another_value_of_the_routing_label_starts_a_second_change_in_that_channel(routed: Receiver) -> None:
    taken(routed, event_time=1_700_000_000, labels={"team": "web"})
    taken(routed, event_time=1_700_000_001, labels={"team": "db"}, change_status="Done", title="moved")
    first, second = routed.changes()
    assert (first["channel_name"], first["change_status"], first["end_time"]) == ("web", "Processing", 0)
    assert (second["channel_name"], second["change_status"], second["title"]) == ("db", "Done", "moved")
    assert first["change_key"] == second["change_key"]
    assert first["change_id"] != second["change_id"]
    assert first["channel_id"] != second["channel_id"]
    for change in (first, second):
        assert [item["change_id"] for item in listed(routed, channel_ids=[change["channel_id"]])["items"]] == [
            change["change_id"]
        ]
    both = [first["channel_id"], second["channel_id"]]
    assert listed(routed, channel_ids=both)["total"] == 2
    # The same status and second in another channel is another event.
    taken(routed, event_time=1_700_000_000, labels={"team": "db"})
    assert routed.events()[-1]["discarded"] is None


def test_an_event_without_the_routing_label_is_in_a_channel_of_its_own(routed: Receiver) -> None:
    taken(routed, event_time=100, labels={"team": "web"})
    taken(routed, event_time=101)
    taken(routed, event_time=102, labels={"team": "web"}, change_status="Done")
    assert [(change["channel_id"] == 0, change["change_status"]) for change in routed.changes()] == [
        (False, "Done"),
        (True, "Processing"),
    ]


def test_channels_are_the_same_after_a_restart(tmp_path: Path, routed: Receiver) -> None:
    taken(routed, labels={"team": "web"})
    before = routed.changes()
    routed.close()
    with Receiver(tmp_path / "r.db", [KEY], [APP], route_label="team") as again:
        taken(again, labels={"team": "web"}, change_status="Done")
        (change,) = again.changes()
        assert change["channel_id"] == before[0]["channel_id"]


events_of = st.lists(
    st.builds(
        lambda status, when, title, labels: rules.Event(status, "C", title, when, None, None, labels),
        st.sampled_from(rules.NATIVE_STATUSES),
        st.integers(1, 5),
        st.sampled_from("abc"),
        st.none() | st.dictionaries(st.sampled_from("xy"), st.sampled_from("12")),
    ),
    min_size=1,
)


@given(events_of, st.sampled_from(merge.MODES))
def test_merging_keeps_its_promises(events: list[rules.Event], mode: merge.Mode) -> None:
    def when(event: rules.Event) -> int:
        assert event.event_time is not None
        return event.event_time

    merged = merge.Merged.begin(events[0], when(events[0]))
    for event in events[1:]:
        merged = merged.take(event, when(event), mode)
    latest = max(map(when, events))
    assert merged.last_time == latest
    assert merged.change_status == [event.change_status for event in events if when(event) == latest][-1]
    processing = [when(event) for event in events if event.change_status == "Processing"]
    assert merged.start_time == min(processing or map(when, events))
    assert merged.title == events[0 if mode == "first" else -1].title
