# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an event is stored, compared with the last one of its change, and what became of it."""

from __future__ import annotations

import pytest
from outboxes import LEASE, ME, START, TWO, Clock, claimed, counts, event, outcome

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch


def test_an_event_is_stored_with_its_moment_and_said_once(outbox: Outbox, clock: Clock) -> None:
    first = outbox.put(event())
    assert (first.changed, first.before) == (True, None)
    clock.time += 60
    again = outbox.put(event())
    assert (again.changed, again.uid) == (False, first.uid)
    assert again.before is not None
    assert again.before.event_time == int(START)
    assert outbox.events.pending() == 1


def test_what_differs_is_stored(outbox: Outbox) -> None:
    outbox.put(event())
    assert outbox.put(event(), force=True).changed
    assert outbox.put(event(event_time=int(START) - 5)).changed
    assert outbox.put(event(status="Done")).changed
    assert outbox.put(event()).changed
    assert outbox.put(event("b")).changed
    assert outbox.of(TWO).put(event()).changed
    assert (outbox.events.pending(), outbox.of(TWO).events.pending()) == (6, 1)


@pytest.mark.parametrize("later", [event(), event(status="Done"), event("b"), event(event_time=7)])
def test_the_last_known_event_tells_what_put_does_and_writes_nothing(outbox: Outbox, later: ChangeEvent) -> None:
    outbox.put(event())
    known = outbox.events.last(later)
    assert counts(outbox) == {"waiting": 1}
    put = outbox.put(later)
    assert (put.changed, put.before) == ((True, None) if known is None else (not known.is_equal, known.event))


def test_the_last_state_counts_when_it_was_delivered_but_not_when_it_was_refused(outbox: Outbox) -> None:
    outbox.put(event())
    outbox.claims.delivered(claimed(outbox), "r1")
    assert not outbox.put(event()).changed
    outbox.put(event(status="Done"))
    outbox.claims.refused(claimed(outbox), ApiError("no", False, 400, "InvalidParameter", "r2"))
    assert not outbox.put(event()).changed
    assert outbox.put(event(status="Done")).changed


def test_an_equal_event_without_expiry_keeps_the_stored_one_alive(outbox: Outbox, clock: Clock) -> None:
    first = outbox.put(event(), expires_at=START + 10)
    assert not outbox.put(event()).changed
    clock.time += 11
    assert claimed(outbox).uid == first.uid


def test_an_event_expires_and_makes_way(outbox: Outbox, clock: Clock) -> None:
    first = outbox.put(event(), expires_at=START + 10)
    behind = outbox.put(event(status="Done"))
    assert outcome(outbox, first.uid).state == "waiting"
    clock.time += 11
    assert outcome(outbox, first.uid).is_settled
    assert claimed(outbox).uid == behind.uid
    assert counts(outbox) == {"expired": 1, "sending": 1}
    assert outbox.put(event()).changed


def test_a_lost_claim_past_its_expiry_is_not_sent_again(outbox: Outbox, clock: Clock) -> None:
    put = outbox.put(event(), expires_at=START + 10)
    claimed(outbox)
    clock.time += LEASE + 1
    assert outbox.claims.claim(LEASE) is None
    assert outcome(outbox, put.uid).state == "expired"


def test_a_refusal_is_told_once_to_its_own_integration(outbox: Outbox) -> None:
    outbox.put(event())
    outbox.put(event("b"))
    outbox.claims.refused(claimed(outbox), ApiError("bad", False, 400, "InvalidParameter", "r1"))
    by_task = claimed(outbox)
    outbox.claims.refused(by_task, ApiError("bad", False, 400, "InvalidParameter", "r2"))
    outbox.events.refusal_shown(by_task.uid)
    assert outbox.of(TWO).events.take_refusals() == []
    (told,) = outbox.events.take_refusals()
    assert (told.change_key, told.change_status, told.http_status, told.request_id, told.error) == (
        "a",
        "Processing",
        400,
        "r1",
        "bad",
    )
    assert outbox.events.take_refusals() == []
    # Who knows the event is told again, and nobody else's are counted with it.
    assert outbox.events.refusals({by_task.uid, "another"}) == [told._replace(change_key="b", request_id="r2")]
    assert outbox.of(TWO).events.refusals({by_task.uid}) == []


def test_the_outcome_tells_how_it_went(outbox: Outbox) -> None:
    put = outbox.put(event())
    outbox.claims.refused(claimed(outbox), ApiError("bad", False, 400, "InvalidParameter", "r1"))
    found = outcome(outbox, put.uid)
    assert (found.state, found.request_id, found.http_status, found.error_code, found.error) == (
        "refused",
        "r1",
        400,
        "InvalidParameter",
        "bad",
    )


def test_events_are_found_by_their_state(outbox: Outbox) -> None:
    outbox.runs.open("run", Watch(ME, "", "killed"), [event(), event("b")])
    other = outbox.of(TWO).put(event()).uid
    first = claimed(outbox)
    outbox.claims.delivered(first, "r")
    assert outbox.events.uids("delivered") == {first.uid}
    assert len(outbox.events.uids("waiting", "sending")) == 1
    assert outbox.of(TWO).events.uids("waiting") == {other}
    assert sorted(outbox.events.states_of("run")) == ["delivered", "waiting"]


def _sent(outbox: Outbox) -> list[tuple[str, int, str | None]]:
    """What is due, with its status, moment after the start, and description."""
    sent = []
    while isinstance(claim := outbox.claims.claim(LEASE), Claim):
        outbox.claims.delivered(claim, "r")
        told = ChangeEvent.from_json(claim.body)
        sent.append((told.change_status, (told.event_time or 0) - int(START), told.description))
    return sent


def test_of_one_status_and_second_the_later_one_waits_for_the_next(outbox: Outbox, clock: Clock) -> None:
    first = outbox.put(event(description="1"))
    second = outbox.put(event(description="2"))
    # Whoever waits for the second hears of the third, which says more.
    third = outbox.put(event(description="3"), expires_at=START + 10)
    assert first.uid != second.uid == third.uid
    assert not outbox.put(event(description="3")).changed
    done = outbox.put(event(status="Done"))
    assert _sent(outbox) == [("Processing", 0, "1")]
    assert outbox.claims.claim(LEASE) == START + 1
    outbox.claims.clear_pause()
    assert outbox.claims.claim(LEASE) == START + 1
    clock.time += 1
    # The end is not dated before what it follows.
    assert _sent(outbox) == [("Processing", 1, "3"), ("Done", 1, None)]
    assert outcome(outbox, done.uid).state == outcome(outbox, second.uid).state == "delivered"
    assert not outbox.put(event(status="Done")).changed


def test_what_is_on_its_way_or_not_the_last_is_not_replaced(outbox: Outbox, clock: Clock) -> None:
    outbox.put(event())
    outbox.put(event(status="Done"))
    outbox.put(event(description="again"))
    outbox.put(event(status="Done", description="again"))
    clock.time += 1
    assert _sent(outbox) == [
        ("Processing", 0, None),
        ("Done", 0, None),
        ("Processing", 1, "again"),
        ("Done", 1, "again"),
    ]


def test_a_moment_that_is_asked_for_is_compared_as_it_was_asked_for(outbox: Outbox) -> None:
    asked = event(event_time=int(START) - 50)
    outbox.put(asked)
    assert outbox.put(asked._replace(title="other")).changed
    assert not outbox.put(asked._replace(title="other")).changed
    earlier = asked._replace(event_time=int(START) - 90)
    assert outbox.put(earlier).changed
    assert [(status, moment) for status, moment, _text in _sent(outbox)] == [
        ("Processing", -50),
        ("Processing", -49),
        ("Processing", -90),
    ]


def test_a_clock_that_is_set_back_dates_no_end_before_its_beginning(outbox: Outbox, clock: Clock) -> None:
    outbox.put(event())
    clock.time -= 3600
    outbox.put(event(status="Done"))
    outbox.runs.open("run", Watch(ME, "", "killed"), [event("b", event_time=int(START))])
    outbox.runs.close("run", [event("b", "Done", event_time=int(clock.time))])
    assert _sent(outbox) == [("Processing", 0, None), ("Done", 0, None)] * 2


def test_what_is_planned_for_later_holds_up_nothing(outbox: Outbox) -> None:
    outbox.put(event(status="Ready", event_time=int(START) + 30))
    outbox.put(event(status="Ready", event_time=int(START) + 86400, title="later"))
    assert [moment for _status, moment, _text in _sent(outbox)] == [30, 86400]
    outbox.put(event())
    assert _sent(outbox) == [("Processing", 0, None)]
