# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which changes an alert would bring up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_client import (
    call,
    push,
)

from flashduty_sandbox.correlation import rank
from flashduty_sandbox.receiver import Receiver
from flashduty_sandbox.rules import CorrelateQuery


def change(
    key: str, labels: dict[str, str], start: int = 1000, last: int = 1000, status: str = "Done"
) -> dict[str, Any]:
    return {"change_key": key, "labels": labels, "start_time": start, "last_time": last, "change_status": status}


def ranked(changes: list[dict[str, Any]], labels: dict[str, str], time: int = 1000, window: int = 10**6) -> list[str]:
    return [match.change["change_key"] for match in rank(changes, CorrelateQuery(labels, time, window)).matches]


def test_more_shared_labels_come_first_then_the_closer_change() -> None:
    both, one = {"service": "a", "env": "prod"}, {"service": "a", "env": "test"}
    changes = [
        change("far", both, 100, 200),
        change("one", one, 990, 1000),
        change("near", both, 800, 900),
        change("none", {"service": "b"}, 1000, 1000),
        change("open long", both, 1, 500, "Processing"),
        change("just begun", both, 950, 950, "Processing"),
    ]
    assert ranked(changes, both) == ["just begun", "open long", "near", "far", "one"]


def test_a_change_after_the_alert_and_one_outside_the_window() -> None:
    labels = {"host": "a"}
    changes = [
        change("after", labels, 1100, 1200),
        change("before", labels, 700, 800),
        change("long ago", labels, 1, 2),
    ]
    ranking = rank(changes, CorrelateQuery(labels, 1000, 500))
    assert [(match.change["change_key"], match.moment, match.gap) for match in ranking.matches] == [
        ("after", "after", 100),
        ("before", "before", 200),
    ]


def test_labels_are_shared_when_they_are_equal_to_the_letter() -> None:
    labels = {"host": "web1,web2", "env": "Prod", "team": "a", "region": "cn"}
    (match,) = rank(
        [change("c", labels)],
        CorrelateQuery({"host": "web2", "env": "prod", "team": "b", "region": "cn", "x": "y"}, 1000, 9),
    ).matches
    assert match.shared == ["region"]
    assert match.differing == {"env": "case", "host": "listed", "team": "other"}


def test_a_change_that_only_nearly_shares_a_label_is_told_apart() -> None:
    changes = [change("list", {"host": "a, b"}), change("case", {"host": "B "}), change("other", {"host": "bb"})]
    ranking = rank(changes, CorrelateQuery({"host": "b"}, 1000, 9))
    assert ranking.matches == []
    assert sorted(match.change["change_key"] for match in ranking.near_misses) == ["case", "list"]


labels_of = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["1", "2", "1,2"]))


@given(
    st.lists(st.tuples(labels_of, st.integers(0, 100), st.integers(0, 100), st.sampled_from(["Done", "Processing"]))),
    labels_of,
    st.integers(0, 200),
    st.integers(0, 200),
)
def test_the_ranking_keeps_its_promises(
    given_changes: list[tuple[dict[str, str], int, int, str]], labels: dict[str, str], time: int, window: int
) -> None:
    changes = [
        change(str(number), own, start, start + length, status)
        for number, (own, start, length, status) in enumerate(given_changes)
    ]
    ranking = rank(changes, CorrelateQuery(labels, time, window))
    ranks = [(-len(match.shared), match.gap) for match in ranking.matches]
    assert ranks == sorted(ranks)
    assert all(match.gap <= window for match in (*ranking.matches, *ranking.near_misses))
    brought = {match.change["change_key"] for match in ranking.matches}
    for item in changes:
        shares = bool(item["labels"].items() & labels.items())
        in_reach = item["start_time"] - window <= time and (
            item["change_status"] == "Processing" or time <= item["last_time"] + window
        )
        assert (item["change_key"] in brought) == (shares and in_reach)


def test_correlation_over_http(receiver: Receiver) -> None:
    push(receiver, labels={"service": "a", "host": "x,y"}, change_status="Done")
    push(receiver, change_key="C-2", labels={"host": "x,y"}, event_time=1_700_000_100)
    push(receiver, change_key="C-3", labels={"service": "a"}, event_time=1_600_000_000, change_status="Done")
    alert = {"labels": {"service": "a", "host": "y"}, "time": 1_700_000_060, "window": 3600}
    found = call(receiver, "POST", "/sandbox/correlate", alert).json
    assert found["considered"] == 2
    ((match,), (near,)) = found["matches"]["items"], found["near_misses"]["items"]
    assert (match["change"]["change_key"], match["shared"], match["moment"], match["gap"]) == (
        "CHANGE-1",
        ["service"],
        "before",
        60,
    )
    assert (near["change"]["change_key"], near["moment"]) == ("C-2", "after")
    assert call(receiver, "POST", "/sandbox/correlate", {**alert, "labels": {}}).json["matches"]["items"] == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"labels": [], "time": 1, "window": 1},
        {"labels": {"a": 1}, "time": 1, "window": 1},
        {"labels": {}, "time": "now", "window": 1},
        {"labels": {}, "time": 1, "window": -1},
        {"labels": {}, "time": 1, "window": 1, "x": 1},
    ],
)
def test_a_question_that_makes_no_sense_is_refused(receiver: Receiver, body: object) -> None:
    reply = call(receiver, "POST", "/sandbox/correlate", body)
    assert (reply.status, reply.json["error"]["code"]) == (400, "InvalidParameter")
