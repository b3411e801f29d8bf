# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which changes elsewhere are taken for abandoned, and what closes them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent, InvalidValue
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import (
    LIMIT_MAX,
    ChangeQuery,
    Found,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection, MissingAppKey
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.stale_changes import (
    StaleRule,
    duration,
    stale_events,
)

CONNECTION = Connection("http://127.0.0.1:1", "key", app_key="app")
DAY = 86400
NOW = 1_800_000_000
AFTER = 3600
RULE = StaleRule(AFTER, 7, {"source": "ansible"})


def rule(connection: Connection = CONNECTION, **options: Any) -> StaleRule | None:
    return StaleRule.from_options({"stale_after": "6h", "stale_integration_id": 7, **options}, connection)


def change(**fields: Any) -> dict[str, Any]:
    shown = {"change_key": "a", "change_status": "Processing", "title": "Upgrade", "integration_id": 7}
    return {**shown, "labels": {"source": "ansible"}, "last_time": NOW - AFTER, **fields}


def closed(*changes: dict[str, Any], in_use: tuple[str, ...] = ()) -> list[ChangeEvent]:
    return stale_events(RULE, lambda _query: Found([*changes], len(changes), False), float(NOW), in_use, Notices())


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("  ", 0),
        (90, 90),
        ("90", 90),
        ("90s", 90),
        ("15m", 900),
        ("6H", 21600),
        (" 2 d ", 172800),
        ("0d", 0),
    ],
)
def test_a_duration_has_one_unit(value: object, seconds: int) -> None:
    assert duration(value) == seconds


@pytest.mark.parametrize("value", ["6 hours", "1h30m", "-1h", "1.5h", "h", "1w", "1234567890"])
def test_what_is_no_duration_is_quoted_with_what_is_one(value: str) -> None:
    with pytest.raises(InvalidValue, match="stale_after: must be seconds or a number with s, m, h or d") as caught:
        duration(value)
    assert repr(value.strip()) in str(caught.value)


@pytest.mark.parametrize("value", [None, "", "0"])
def test_without_a_duration_nothing_is_asked_for(value: object) -> None:
    assert StaleRule.from_options({"stale_after": value}, CONNECTION._replace(app_key=None)) is None


@pytest.mark.parametrize(("value", "taken"), [("599", False), ("10m", True), ("29d", True), (29 * DAY + 1, False)])
def test_a_run_may_be_silent_for_ten_minutes_and_flashduty_is_asked_for_thirty_days(value: object, taken: bool) -> None:
    if taken:
        found = rule(stale_after=value)
        assert found is not None
        assert found.after == duration(value)
        return
    with pytest.raises(InvalidValue, match=rf"stale_after: .*10 minutes and 29 days, got {value} seconds"):
        rule(stale_after=value)


def test_an_app_key_and_the_integrations_number_are_needed() -> None:
    with pytest.raises(MissingAppKey):
        rule(CONNECTION._replace(app_key=None))
    for number in (None, 0):
        with pytest.raises(InvalidValue, match="stale_integration_id: is needed"):
            rule(stale_integration_id=number)


def test_labels_narrow_and_never_widen_what_is_ours() -> None:
    found = rule(stale_labels={"team": "shop", "source": "another", "empty": None})
    assert found is not None
    assert (dict(found.labels), found.integration_id) == ({"team": "shop", "source": "ansible"}, 7)
    with pytest.raises(InvalidValue, match=r"labels\[team\]"):
        rule(stale_labels={"team": {"a": "map"}})


def test_the_oldest_changes_of_the_integration_are_asked_for_within_the_days_that_flashduty_allows() -> None:
    asked: list[ChangeQuery] = []

    def find(query: ChangeQuery) -> Found:
        asked.append(query)
        return Found([], 0, False)

    assert stale_events(RULE, find, NOW + 0.9, (), Notices()) == []
    (query,) = asked
    assert (query.start_time, query.end_time) == (NOW - 30 * DAY, NOW)
    assert (query.change_status, query.integration_ids, query.labels) == (("Processing",), (7,), RULE.labels)
    assert (query.orderby, query.asc, query.limit) == ("last_time", True, LIMIT_MAX)


@pytest.mark.parametrize(
    ("fields", "stale"),
    [
        ({}, True),
        ({"last_time": NOW - AFTER + 1}, False),
        ({"last_time": NOW - 29 * DAY}, True),
        # Nothing tells how old these are.
        ({"last_time": 0}, False),
        ({"last_time": None}, False),
        ({"last_time": "yesterday"}, False),
        ({"integration_id": 8}, False),
        ({"integration_id": None}, False),
        ({"change_key": "in use"}, False),
        # Not made by this collection.
        ({"title": ""}, False),
        ({"change_key": ""}, False),
    ],
)
def test_only_what_is_ours_old_enough_and_not_in_use_is_closed(fields: dict[str, Any], stale: bool) -> None:
    assert bool(closed(change(**fields), in_use=("in use",))) is stale


def test_one_that_cannot_be_closed_does_not_keep_the_others_open() -> None:
    assert [event.change_key for event in closed(change(title=""), change(change_key="b"))] == ["b"]


def test_a_change_is_canceled_as_it_was_at_its_last_sign_of_life() -> None:
    at = NOW - 7500
    (event,) = closed(change(link="https://job/1", labels={"source": "ansible", "host": "w1"}, last_time=at))
    assert (event.change_status, event.event_time, event.title) == ("Canceled", at, "Upgrade")
    assert event.link == "https://job/1"
    assert dict(event.labels) == {"source": "ansible", "host": "w1", "result": "unknown"}
    assert "2027-01-15 05:55:00 UTC" in (event.description or "")
    assert "2 h 5 min" in (event.description or "")
