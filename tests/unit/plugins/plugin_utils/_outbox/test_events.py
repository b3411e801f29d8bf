# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an event is stored, compared with the last one of its change, and what became of it."""

from __future__ import annotations

import pytest
from outboxes import LEASE, ME, ONE, START, TWO, Clock, claimed, counts, event, outcome

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox


def test_an_event_is_stored_with_its_moment_and_said_once(outbox: Outbox, clock: Clock) -> None:
    first = outbox.put(ONE, event())
    assert (first.changed, first.before) == (True, None)
    clock.time += 60
    again = outbox.put(ONE, event())
    assert (again.changed, again.uid) == (False, first.uid)
    assert again.before is not None
    assert again.before.event_time == int(START)
    assert outbox.events.pending(ONE) == 1


def test_what_differs_is_stored(outbox: Outbox) -> None:
    outbox.put(ONE, event())
    assert outbox.put(ONE, event(), force=True).changed
    assert outbox.put(ONE, event(event_time=int(START) - 5)).changed
    assert outbox.put(ONE, event(status="Done")).changed
    assert outbox.put(ONE, event()).changed
    assert outbox.put(ONE, event("b")).changed
    assert outbox.put(TWO, event()).changed
    assert (outbox.events.pending(ONE), outbox.events.pending(TWO)) == (6, 1)


@pytest.mark.parametrize("later", [event(), event(status="Done"), event("b"), event(event_time=7)])
def test_the_last_known_event_tells_what_put_does_and_writes_nothing(outbox: Outbox, later: ChangeEvent) -> None:
    outbox.put(ONE, event())
    known = outbox.events.last(ONE, later)
    assert counts(outbox) == {"waiting": 1}
    put = outbox.put(ONE, later)
    assert (put.changed, put.before) == ((True, None) if known is None else (not known.is_equal, known.event))


def test_the_last_state_counts_when_it_was_delivered_but_not_when_it_was_refused(outbox: Outbox) -> None:
    outbox.put(ONE, event())
    outbox.claims.delivered(claimed(outbox), ONE, "r1")
    assert not outbox.put(ONE, event()).changed
    outbox.put(ONE, event(status="Done"))
    outbox.claims.refused(claimed(outbox), "no", "InvalidParameter", 400, "r2")
    assert not outbox.put(ONE, event()).changed
    assert outbox.put(ONE, event(status="Done")).changed


def test_an_equal_event_without_expiry_keeps_the_stored_one_alive(outbox: Outbox, clock: Clock) -> None:
    first = outbox.put(ONE, event(), expires_at=START + 10)
    assert not outbox.put(ONE, event()).changed
    clock.time += 11
    assert claimed(outbox).uid == first.uid


def test_an_event_expires_and_makes_way(outbox: Outbox, clock: Clock) -> None:
    first = outbox.put(ONE, event(), expires_at=START + 10)
    behind = outbox.put(ONE, event(status="Done"))
    assert outcome(outbox, first.uid).state == "waiting"
    clock.time += 11
    assert outcome(outbox, first.uid).is_settled
    assert claimed(outbox).uid == behind.uid
    assert counts(outbox) == {"expired": 1, "sending": 1}
    assert outbox.put(ONE, event()).changed


def test_a_lost_claim_past_its_expiry_is_not_sent_again(outbox: Outbox, clock: Clock) -> None:
    put = outbox.put(ONE, event(), expires_at=START + 10)
    claimed(outbox)
    clock.time += LEASE + 1
    assert outbox.claims.claim(ONE, ME, LEASE) is None
    assert outcome(outbox, put.uid).state == "expired"


def test_a_refusal_is_told_once_to_its_own_integration(outbox: Outbox) -> None:
    outbox.put(ONE, event())
    outbox.put(ONE, event("b"))
    outbox.claims.refused(claimed(outbox), "bad", "InvalidParameter", 400, "r1")
    by_task = claimed(outbox)
    outbox.claims.refused(by_task, "bad", "InvalidParameter", 400, "r2")
    outbox.events.refusal_shown(by_task.uid)
    assert outbox.events.take_refusals(TWO) == []
    (told,) = outbox.events.take_refusals(ONE)
    assert (told.change_key, told.change_status, told.http_status, told.request_id, told.error) == (
        "a",
        "Processing",
        400,
        "r1",
        "bad",
    )
    assert outbox.events.take_refusals(ONE) == []


def test_the_outcome_tells_how_it_went(outbox: Outbox) -> None:
    put = outbox.put(ONE, event())
    outbox.claims.refused(claimed(outbox), "bad", "InvalidParameter", 400, "r1")
    found = outcome(outbox, put.uid)
    assert (found.state, found.request_id, found.http_status, found.error_code, found.error) == (
        "refused",
        "r1",
        400,
        "InvalidParameter",
        "bad",
    )
