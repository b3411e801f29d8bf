# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The events of an outbox as a person reads them."""

from __future__ import annotations

from outboxes import START, TWO, Clock, claimed, deliver_all, event, outcome

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.listing import Listing
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox


def refused(outbox: Outbox, key: str) -> str:
    put = outbox.put(event(key))
    outbox.claims.refused(claimed(outbox), ApiError("no such label", False, 400, "InvalidParameter", "r-17"))
    return put.uid


def test_the_latest_come_first_of_all_integrations(outbox: Outbox) -> None:
    refused(outbox, "a")
    outbox.of(TWO).put(event("b"))
    outbox.put(event("a", "Done", link="https://ci.example/1"))
    found = Listing(outbox.database).latest(2)
    assert [(each.change_key, each.state, each.integration) for each in found] == [
        ("a", "waiting", outbox.integration[:8]),
        ("b", "waiting", TWO[:8]),
    ]
    (done,) = Listing(outbox.database).latest(9, ["waiting"], "a")
    assert (done.title, done.link, done.event_time) == ("deploy", "https://ci.example/1", int(START))


def test_one_whose_text_is_no_longer_kept_is_listed(outbox: Outbox) -> None:
    outbox.put(event())
    deliver_all(outbox)
    with outbox.database.writing() as transaction:
        transaction.execute("UPDATE events SET body = NULL")
    (listed,) = Listing(outbox.database).latest(9)
    assert (listed.title, listed.link) == (None, None)


def test_refused_events_are_sent_again_or_given_up_and_no_others(outbox: Outbox, clock: Clock) -> None:
    again, gone = refused(outbox, "a"), refused(outbox, "b")
    waits = outbox.put(event("c"), expires_at=START + 1000).uid
    assert sorted(Listing(outbox.database).refused([again, gone, waits, "unknown"])) == sorted([again, gone])
    Listing(outbox.database).resend([again, waits])
    Listing(outbox.database).drop([gone, waits])
    assert outbox.events.take_refusals() == []
    assert (outcome(outbox, gone).state, outcome(outbox, waits).state) == ("expired", "waiting")
    clock.time += 500
    assert sorted(deliver_all(outbox)) == ["a", "c"]
