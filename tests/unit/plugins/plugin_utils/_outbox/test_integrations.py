# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in the outbox for other integrations."""

from __future__ import annotations

import pytest
from outboxes import ME, TWO, Clock, claimed, counts, deliver_all, event

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch

URL = "https://api.example"


@pytest.fixture
def of_two(outbox: Outbox, clock: Clock, dead: Process) -> Outbox:
    """An outbox with an event that waits, one that was refused for its key and a run that vanished, all of `TWO`."""
    two = outbox.of(TWO)
    two.remember(URL)
    two.runs.open("run", Watch(dead, "it vanished", "killed"), [event("run", title="Upgrade")])
    two.claims.delivered(claimed(two), "r")
    two.put(event("refused"))
    two.claims.refused(
        claimed(two), ApiError("invalid parameter: integration_key", False, 400, "InvalidParameter", "r")
    )
    two.put(event("malformed"))
    two.claims.refused(claimed(two), ApiError("invalid parameter: labels", False, 400, "InvalidParameter", "r"))
    two.put(event("waits"))
    outbox.runs.open("mine", Watch(dead, "it vanished", "killed"), [event("mine")])
    clock.time += 60
    return outbox


def test_what_is_left_is_counted_dated_and_named(of_two: Outbox) -> None:
    (left,) = of_two.integrations.left_over(URL)
    assert (left.events, left.runs, left.same_address) == (2, 1, True)
    assert left.text.en == "2 events and 1 vanished run since 2027-01-15 08:00 UTC (Upgrade)"
    assert TWO.startswith(left.name)
    assert of_two.integrations.left_over(URL, older_than=61) == []
    (mine,) = of_two.of(TWO).integrations.left_over()
    assert (mine.integration, mine.events) == (of_two.integration, 1)


def test_what_is_adopted_is_delivered_and_closed_here(of_two: Outbox, clock: Clock) -> None:
    assert of_two.integrations.adopt(of_two.integrations.left_over(URL)) == 3
    assert of_two.integrations.left_over() == []
    assert of_two.of(TWO).runs.vanished() == []
    assert of_two.runs.close_vanished("run") == 1
    assert sorted(deliver_all(of_two)) == ["mine", "refused", "run", "waits"]


def test_what_is_given_up_is_gone_and_nothing_else(of_two: Outbox) -> None:
    assert of_two.integrations.drop(of_two.integrations.left_over(URL)) == 3
    assert of_two.integrations.left_over() == []
    assert counts(of_two) == {"delivered": 1, "expired": 2, "refused": 1, "waiting": 1}


def test_another_address_and_one_that_is_not_known_are_not_the_same(of_two: Outbox) -> None:
    of_two.of(TWO).remember("https://other.example")
    assert [left.same_address for left in of_two.integrations.left_over(URL)] == [False]
    with of_two.database.writing() as transaction:
        transaction.execute("DELETE FROM integrations")
    assert [left.same_address for left in of_two.integrations.left_over(URL)] == [False]


def test_a_run_that_goes_on_and_what_is_being_sent_are_left_alone(outbox: Outbox) -> None:
    outbox.of(TWO).runs.open("run", Watch(ME, "it vanished", "killed"), [event()])
    claimed(outbox.of(TWO))
    (left,) = outbox.integrations.left_over()
    assert (left.events, left.runs) == (1, 0)
    assert outbox.integrations.adopt([left]) == 0
