# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change event is refused here, by name, or it is one that the API takes."""

from __future__ import annotations

import datetime
import json
from email.message import Message
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    DESCRIPTION_MAX,
    FIELDS,
    LABEL_KEY_MAX,
    LABEL_VALUE_MAX,
    LABELS_MAX,
    STATUSES,
    ChangeEvent,
    InvalidValue,
    label_text,
    plain_text,
    shortened,
)
from flashduty_sandbox import rules

NOW = 1_800_000_000.0
MINIMUM: dict[str, Any] = {"change_status": "Done", "change_key": "CHG-1", "title": "deploy"}


def event(**fields: Any) -> ChangeEvent:
    return ChangeEvent.validated({**MINIMUM, **fields}, NOW)


def judged(body: str) -> rules.Event:
    headers = Message()
    headers["Content-Type"] = "application/json"
    request = rules.Request("POST", rules.PUSH_PATH, headers=headers, body=body.encode())
    return rules.judge_push(request, NOW)


texts = st.text(max_size=40) | st.text(st.characters(categories=["Cs", "Cc", "Zs", "Zl", "Mn"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary(max_size=8)
anything = st.recursive(
    scalars | st.datetimes() | st.datetimes(timezones=st.just(datetime.timezone.utc)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(texts, inner, max_size=3)
        | st.frozensets(scalars, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=6,
)
labels = st.dictionaries(texts | st.integers() | st.booleans(), scalars | st.lists(scalars, max_size=3), max_size=60)
likely = st.fixed_dictionaries(
    {"change_status": st.sampled_from(STATUSES), "change_key": texts, "title": texts},
    optional={
        "event_time": st.integers(0, int(NOW) + 100) | st.datetimes().map(datetime.datetime.isoformat) | anything,
        "description": st.text(max_size=2100) | st.just("x" * 2049),
        "link": texts,
        "labels": labels,
    },
)


@given(likely | st.dictionaries(st.sampled_from(FIELDS) | texts, anything, max_size=8))
@example({**MINIMUM, "labels": {f"name{number}": "x" for number in range(51)}})
@example({**MINIMUM, "event_time": 10**5000})
@example({**MINIMUM, "event_time": float("nan")})
@example({**MINIMUM, "title": 10**5000})
@example({**MINIMUM, "labels": {"x" * 129: "y"}})
@example({**MINIMUM, "labels": {"a": {10**5000, 1}}})
@example({**MINIMUM, "link": "\ud83d"})
def test_whatever_goes_in_is_refused_by_name_or_taken_by_the_api(fields: dict[str, Any]) -> None:
    try:
        made = ChangeEvent.validated(fields, NOW)
    except InvalidValue as error:
        named = str(error).startswith(f"{error.field}: ")
        assert named
        return
    taken = judged(made.to_json())
    assert (taken.change_status, taken.change_key, taken.title) == (made.change_status, made.change_key, made.title)
    assert dict(taken.labels or {}) == dict(made.labels)
    again = ChangeEvent.from_json(made.to_json())
    assert again.to_json() == made.to_json()
    assert again.fingerprint() == made.fingerprint()
    assert ChangeEvent.validated(made.to_dict(), NOW).to_json() == made.to_json()


def test_absent_and_empty_fields_are_not_sent() -> None:
    made = event(event_time="", description=" ", link=None, labels={"a": None, "b": "", "c": []})
    assert made.to_dict() == MINIMUM


@pytest.mark.parametrize(
    ("fields", "field", "told"),
    [
        ({"change_status": "done"}, "change_status", "case matters"),
        ({"change_status": None}, "change_status", "got nothing"),
        ({"change_key": " \n"}, "change_key", "required"),
        ({"title": ["x"]}, "title", "list"),
        ({"titel": "x"}, "titel", "known are change_status"),
        ({"description": "x" * (DESCRIPTION_MAX + 1)}, "description", "2049"),
        ({"labels": "a=b"}, "labels", "map"),
        ({"labels": {f"a{number}": 1 for number in range(LABELS_MAX + 1)}}, "labels", "51"),
        ({"labels": {"k" * (LABEL_KEY_MAX + 1): 1}}, "labels['" + "k" * 56 + "...]", "129"),
        ({"labels": {"a": "v" * (LABEL_VALUE_MAX + 1)}}, "labels['a']", "2049"),
        ({"labels": {"a": {"b": 1}}}, "labels['a']", "map"),
        ({"labels": {1: "a", "1": "b"}}, "labels['1']", "twice"),
        ({"labels": {" ": "a"}}, "labels", "empty"),
        ({"event_time": int(NOW) * 1000}, "event_time", "milliseconds"),
        ({"event_time": NOW + 60}, "event_time", "60 s ahead"),
        ({"event_time": 0}, "event_time", "1970"),
        ({"event_time": True}, "event_time", "True"),
        ({"event_time": "2026-01-31T08:00:00"}, "event_time", "time zone"),
        ({"event_time": "yesterday"}, "event_time", "'yesterday'"),
        ({"event_time": float("inf")}, "event_time", "finite"),
    ],
)
def test_a_refusal_names_the_field_and_what_was_given(fields: dict[str, Any], field: str, told: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        event(**fields)
    assert caught.value.field == field
    assert told in str(caught.value)


def test_the_limits_themselves_are_allowed() -> None:
    made = event(
        description="变" * DESCRIPTION_MAX,
        labels={f"{number:0{LABEL_KEY_MAX}}": "v" * LABEL_VALUE_MAX for number in range(LABELS_MAX)},
    )
    assert len(judged(made.to_json()).labels or {}) == LABELS_MAX


@pytest.mark.parametrize(
    "given_time",
    [
        1769817600,
        1769817600.9,
        "1769817600",
        "2026-01-31T00:00:00Z",
        "2026-01-31T08:00:00+08:00",
        "2026-01-31 08:00:00+0800",
        datetime.datetime(2026, 1, 31, tzinfo=datetime.timezone.utc),
    ],
)
def test_a_moment_in_any_form_becomes_unix_seconds(given_time: Any) -> None:
    assert event(event_time=given_time).event_time == 1769817600


def test_only_a_ready_event_may_lie_in_the_future() -> None:
    assert event(change_status="Ready", event_time=NOW + 3600).event_time == NOW + 3600
    for status in set(STATUSES) - {"Ready"}:
        with pytest.raises(InvalidValue, match="only a Ready event"):
            event(change_status=status, event_time=NOW + 3600)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (1.5, "1.5"),
        (["a", None, 2, ""], "a,2"),
        ({"b", "a"}, "a,b"),
        (b"\xff", "�"),
        (" a\nb ", "a b"),
        ([], None),
        (None, None),
    ],
)
def test_label_values(value: Any, text: str | None) -> None:
    assert label_text(value) == text


def test_a_fingerprint_is_of_the_content_not_of_the_moment_or_the_order() -> None:
    one = event(labels={"a": "1", "b": "2"}, event_time=5)
    assert one.fingerprint() == event(labels={"b": 2, "a": 1}, event_time=6).fingerprint()
    assert one.fingerprint() != event(labels={"a": "1", "b": "3"}, event_time=5).fingerprint()
    assert one.fingerprint() != event(labels={"a": "1", "b": "2"}, change_status="Ready").fingerprint()


def test_at_sets_the_moment_only_where_there_is_none() -> None:
    assert event().at(7.9).event_time == 7
    assert event(event_time=3).at(7.9).event_time == 3


def test_text_keeps_its_lines_only_where_asked() -> None:
    assert plain_text("a\r\nb\tc\x00", lines=True) == "a\nb\tc "
    assert plain_text("a\r\nb\t\tc\u2028d") == "a b c d"


@given(st.text(max_size=30), st.integers(1, 30))
def test_shortened_text_keeps_the_limit(text: str, limit: int) -> None:
    short = shortened(text, limit)
    assert len(short) <= limit
    assert short == text or short.endswith("…")


def test_shortened_text_is_not_cut_inside_a_character() -> None:
    assert shortened("ae\u0301xyz", 3) == "a…"
    assert shortened("a\U0001f469\u200d\U0001f4bbxyz", 4) == "a…"


def test_the_body_is_json_in_the_order_of_the_specification() -> None:
    body = event(labels={"b": 1, "a": 2}, link="https://x", event_time=5).to_json()
    assert list(json.loads(body)) == ["change_status", "change_key", "title", "event_time", "link", "labels"]
    assert list(json.loads(body)["labels"]) == ["a", "b"]
