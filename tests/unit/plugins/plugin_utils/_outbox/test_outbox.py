# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outbox as one thing: an event, its run and its sender's claim are stored together or not at all."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from outboxes import CONNECTION, LEASE, ME, START, Clock, claimed, counts, event

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import PutResult
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch

LEFT_OPEN = Watch(ME, "left open")


def put_and_claim(outbox: Outbox, status: str = "Processing", force: bool = False) -> tuple[PutResult, Claim | None]:
    put = outbox.put(event(status=status), force=force, lease=LEASE)
    return put, put.claim


def test_an_outbox_exists_once_it_was_opened(tmp_path: Path) -> None:
    folder = str(tmp_path / "state" / "below")
    assert not Outbox.exists(folder)
    with Outbox(folder, CONNECTION) as outbox:
        assert (outbox.folder, os.path.dirname(outbox.database.path)) == (folder, folder)
    assert Outbox.exists(folder)


def test_who_does_not_create_one_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutboxError, match="state"):
        Outbox(str(tmp_path / "state"), CONNECTION, create=False)
    assert list(tmp_path.iterdir()) == []


def test_the_salt_outlives_the_file(tmp_path: Path) -> None:
    with Outbox(str(tmp_path), CONNECTION) as outbox:
        salt = outbox.salt
        os.unlink(outbox.database.path)
    with Outbox(str(tmp_path), CONNECTION) as outbox:
        assert outbox.salt == salt


def test_the_sender_of_its_own_event_holds_it_from_the_start(outbox: Outbox) -> None:
    put, claim = put_and_claim(outbox)
    assert put.changed
    assert claim is not None
    assert (claim.uid, claim.tries, claim.until) == (put.uid, 1, START + LEASE)
    # Others are told when to ask again.
    assert outbox.claims.claim(LEASE) == claim.until


def test_a_sender_that_is_silent_beyond_its_lease_loses_the_event(outbox: Outbox, clock: Clock) -> None:
    put, _claim = put_and_claim(outbox)
    clock.time += LEASE + 1
    again = claimed(outbox)
    assert (again.uid, again.tries) == (put.uid, 2)


def test_the_sender_gets_what_waits_of_that_change_before_its_own(outbox: Outbox) -> None:
    outbox.put(event("another change"))
    earlier = outbox.put(event())
    put, claim = put_and_claim(outbox, "Done")
    assert put.changed
    assert claim is not None
    assert claim.uid == earlier.uid


def test_while_somebody_sends_an_event_of_that_change_the_next_one_waits(outbox: Outbox) -> None:
    outbox.put(event())
    claimed(outbox)
    put, claim = put_and_claim(outbox, "Done")
    assert (put.changed, claim) == (True, None)
    assert counts(outbox) == {"sending": 1, "waiting": 1}


def test_an_equal_event_is_claimed_where_it_waits_and_not_where_it_was_delivered(outbox: Outbox, clock: Clock) -> None:
    first = outbox.put(event())
    put, claim = put_and_claim(outbox)
    assert claim is not None
    assert (put.changed, put.uid, claim.uid) == (False, first.uid, first.uid)
    outbox.claims.delivered(claim, "r")
    put, claim = put_and_claim(outbox)
    assert (put.changed, put.uid, claim) == (False, first.uid, None)
    clock.time += 1
    put, claim = put_and_claim(outbox, force=True)
    assert claim is not None
    assert (put.changed, claim.uid) == (True, put.uid)


@pytest.mark.parametrize(
    ("run", "opened"),
    [
        (None, 0),
        (Watch(ME), 0),
        (LEFT_OPEN, 1),
        ("of the callback", 0),
    ],
)
def test_a_run_is_opened_for_a_change_that_its_task_wants_closed_and_that_has_none(
    outbox: Outbox, run: str | Watch | None, opened: int
) -> None:
    outbox.put(event(), run=run)
    assert len(outbox.runs.open_of(ME)) == opened


def test_an_event_that_cannot_be_stored_leaves_no_run_behind(outbox: Outbox, dead: Process) -> None:
    with closing(sqlite3.connect(outbox.database.path)) as database:
        database.execute("CREATE TRIGGER t BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no room'); END")
    with pytest.raises(OutboxError, match=r"outbox\.sqlite3: no room"):
        outbox.put(event(), run=Watch(dead, "left open"))
    assert outbox.runs.open_of(dead) == []
