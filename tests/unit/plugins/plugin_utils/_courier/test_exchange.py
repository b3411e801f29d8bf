# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is recorded of one try to send an event: delivered, refused, corrected, or due again after a pause."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from outboxes import LEASE, TWO, claimed, counts, outbox_in, outcome

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.exchange import Exchange, Push
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox

CONNECTION = Connection("http://127.0.0.1:1", "key", timeout=10.0)
NO_ANSWER = ApiError("the connection was refused", retry=True)
INTERNAL = ApiError("InternalError: no", True, 500, "InternalError", "r-2")
REFUSED = ApiError("InvalidParameter: no", False, 400, "InvalidParameter", "r-4")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with outbox_in(tmp_path) as opened:
        yield opened


def event(key: str = "a", status: str = "Processing", at: float | None = None) -> ChangeEvent:
    now = time.time() if at is None else at
    fields = {"change_key": key, "change_status": status, "title": "t", "event_time": int(now)}
    return ChangeEvent.validated(fields, now)


def answering(answer: str | ApiError) -> Push:
    def push(_body: str, _budget: float) -> str:
        if isinstance(answer, ApiError):
            raise answer
        return answer

    return push


def tried(outbox: Outbox, answer: str | ApiError) -> Exchange:
    exchange = Exchange(CONNECTION, answering(answer))
    exchange.push(claimed(outbox))(outbox)
    return exchange


def paused(outbox: Outbox, answer: ApiError) -> tuple[float, float]:
    """How long this answer pauses the integration: at least and at most so many seconds."""
    before = time.time()
    tried(outbox, answer)
    after = time.time()
    (row,) = outbox.database.rows("SELECT until FROM pauses WHERE integration = ?", (outbox.integration,))
    return row["until"] - after, row["until"] - before


def test_what_was_taken_is_delivered_and_nothing_waits_for_an_earlier_failure(outbox: Outbox) -> None:
    put = outbox.put(event())
    assert tried(outbox, NO_ANSWER).failing
    outbox.claims.clear_pause()
    assert not tried(outbox, "r-1").failing
    found = outcome(outbox, put.uid)
    assert (found.state, found.request_id) == ("delivered", "r-1")
    assert outbox.claims.pause.error is None


def test_nothing_is_recorded_before_it_is_asked_for(outbox: Outbox) -> None:
    outbox.put(event())
    record = Exchange(CONNECTION, answering("r-1")).push(claimed(outbox))
    assert counts(outbox) == {"sending": 1}
    record(outbox)
    assert counts(outbox) == {"delivered": 1}


def test_no_answer_pauses_the_integration_and_no_other_one(outbox: Outbox) -> None:
    for box in (outbox, outbox.of(TWO)):
        box.put(event("a"))
        box.put(event("b"))
    assert tried(outbox, NO_ANSWER).failing
    assert isinstance(outbox.claims.claim(LEASE), float)
    assert outbox.claims.pause.error == "the connection was refused"
    assert claimed(outbox.of(TWO)).change_key == "a"


def test_an_answer_that_is_bad_for_one_event_lets_the_others_pass(outbox: Outbox) -> None:
    outbox.put(event("a"))
    outbox.put(event("b"))
    assert tried(outbox, INTERNAL).failing
    assert claimed(outbox).change_key == "b"


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [(30.0, 30.0, 30.2), (0.0, 0.0, 0.2), (100_000.0, 3600.0, 3600.2), (None, 1.0, 1.25)],
)
def test_the_pause_that_flashduty_asks_for_is_kept_up_to_an_hour(
    outbox: Outbox, asked: float | None, least: float, most: float
) -> None:
    outbox.put(event())
    at_least, at_most = paused(outbox, ApiError("too many", True, 429, "RequestTooFrequently", "r", asked))
    assert at_least <= most
    assert least <= at_most


def test_each_failure_in_a_row_doubles_the_pause(outbox: Outbox) -> None:
    outbox.put(event())
    for failures, least in enumerate((1.0, 2.0, 4.0), 1):
        at_least, at_most = paused(outbox, NO_ANSWER)
        assert outbox.claims.pause.failures == failures
        assert at_least <= least * 1.25
        assert least <= at_most
        # The event comes again, as if the pause were over.
        outbox.claims.try_now("none")


def test_a_refusal_is_final_keeps_its_reason_and_is_no_outage(outbox: Outbox) -> None:
    first, second = outbox.put(event()), outbox.put(event(status="Done"))
    assert not tried(outbox, REFUSED).failing
    found = outcome(outbox, first.uid)
    assert found[:4] == ("refused", "r-4", 400, "InvalidParameter")
    assert found.error == REFUSED.message
    assert claimed(outbox).uid == second.uid


@pytest.mark.parametrize(
    ("status", "ahead", "code", "tells_time", "state"),
    [
        ("Processing", 3600, "InvalidParameter", True, "waiting"),
        ("Done", 3600, "InvalidParameter", True, "waiting"),
        # What Flashduty allows to lie in the future was refused for something else.
        ("Ready", 3600, "InvalidParameter", True, "refused"),
        ("Processing", 0, "InvalidParameter", True, "refused"),
        ("Processing", 3600, "Unauthorized", True, "refused"),
        ("Processing", 3600, "InvalidParameter", False, "refused"),
    ],
)
def test_an_event_from_the_servers_future_gets_the_servers_time(
    outbox: Outbox, status: str, ahead: int, code: str, tells_time: bool, state: str
) -> None:
    server_time = float(int(time.time()))
    put = outbox.put(event(status=status, at=server_time + ahead))
    error = ApiError("no", False, 400, code, "r", server_time=server_time if tells_time else None)
    assert not tried(outbox, error).failing
    assert outcome(outbox, put.uid).state == state
    stored = outbox.events.get(put.uid)
    assert stored is not None
    assert stored.event_time == server_time + (0 if state == "waiting" else ahead)


@pytest.mark.parametrize(("left", "least", "most"), [(None, 10, 10), (3600, 10, 10), (5, 0.1, 5), (-1, 0.1, 0.1)])
def test_a_try_ends_with_its_budget_or_when_nobody_wants_the_event_any_more(
    left: float | None, least: float, most: float
) -> None:
    budgets: list[float] = []

    def push(_body: str, budget: float) -> str:
        budgets.append(budget)
        return "r"

    expires_at = None if left is None else time.time() + left
    Exchange(CONNECTION, push).push(Claim("uid", "a", event().to_json(), 1, time.time() + 60, expires_at))
    assert least <= budgets[0] <= most


def test_a_claim_lasts_longer_than_a_try() -> None:
    assert Exchange(CONNECTION, answering("r")).lease > CONNECTION.timeout
