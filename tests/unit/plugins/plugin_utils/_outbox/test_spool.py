# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the outbox cannot be used, a spool takes its place, and is taken in: nothing is lost or sent twice."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from outboxes import LEASE, ME, claimed, counts, event, outcome, warnings_of

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox import folders
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.parts import Part
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store

CONNECTION = Connection("http://127.0.0.1:1", "the key")
OTHER = Connection("http://127.0.0.1:1", "another key")


@contextmanager
def locked(folder: str) -> Iterator[None]:
    with Outbox(folder, CONNECTION) as outbox, closing(sqlite3.connect(outbox.database.path)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield


def put(into: Store, status: str = "Processing", key: str = "a") -> str:
    return into.do(lambda outbox: outbox.put(event(key, status)).uid)


def test_the_outbox_is_used_where_it_can_be(folder: str) -> None:
    mine = Store(folder, CONNECTION)
    put(mine)
    assert (mine.folder, mine.take_notices(), Outbox.spools(folder)) == (folder, [], [])


def test_a_locked_outbox_is_replaced_by_a_private_spool_and_takes_it_in(folder: str) -> None:
    mine = Store(folder, CONNECTION)
    with locked(folder):
        uid = put(mine)
        (notice,) = warnings_of(mine)
        assert "locked" in notice
        assert mine.folder in notice
        assert Outbox.spools(folder) == [mine.folder]
        assert Path(mine.folder).stat().st_mode & 0o077 == 0
        # What is asked, and what comes later, goes to the spool.
        put(mine, "Done")
        assert mine.look(lambda outbox: outbox.events.pending()) == 2
        assert mine.take_notices() == []
    assert Store(folder, CONNECTION).look(lambda outbox: outbox.events.pending()) == 2
    assert Outbox.spools(folder) == []
    # Whoever had used the spool goes on in the outbox.
    assert mine.look(lambda outbox: outcome(outbox, uid)).state == "waiting"
    assert mine.folder == folder


def test_a_spool_in_use_is_found_by_the_next_process_also_where_a_better_place_has_come_free(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(folder).write_text("a file")
    better = tmp_path / "better"
    monkeypatch.setattr(folders, "_ROOTS", (str(tmp_path),))
    put(Store(folder, CONNECTION))
    better.mkdir()
    monkeypatch.setattr(folders, "_ROOTS", (str(better), str(tmp_path)))
    later = Store(folder, CONNECTION)
    assert later.do(lambda outbox: outbox.events.pending()) == 1


def test_a_folder_that_cannot_be_made_has_a_spool_too(folder: str) -> None:
    Path(folder).write_text("a file")
    below = os.path.join(folder, "state")
    for changed in (True, False):
        mine = Store(below, CONNECTION)
        assert mine.do(lambda outbox: outbox.put(event())).changed is changed
        assert Outbox.spools(below) == [mine.folder]
    os.unlink(folder)
    assert not Store(below, CONNECTION).do(lambda outbox: outbox.put(event())).changed
    assert Outbox.spools(below) == []


def test_a_spool_that_others_can_write_is_not_trusted(folder: str, tmp_path: Path) -> None:
    hostile = tmp_path / "tmp" / f"flashduty-{os.getuid()}"
    hostile.mkdir()
    hostile.chmod(0o777)
    with locked(folder), pytest.raises(OutboxError, match="locked"):
        put(Store(folder, CONNECTION))
    assert list(hostile.iterdir()) == []


def test_what_several_keys_left_is_taken_in_by_whoever_comes(folder: str) -> None:
    Outbox(folder, CONNECTION).close()
    with locked(folder):
        put(Store(folder, CONNECTION))
        put(Store(folder, OTHER))
    assert Store(folder, CONNECTION).look(lambda outbox: outbox.events.pending()) == 1
    assert Outbox.spools(folder) == []
    assert Store(folder, OTHER).look(lambda outbox: outbox.events.pending()) == 1


def test_where_the_salts_differ_each_key_takes_in_its_own(folder: str) -> None:
    blocked = Path(folder)
    blocked.write_text("a file")
    put(Store(folder, CONNECTION))
    put(Store(folder, OTHER))
    blocked.unlink()
    # Made before anybody could take over the salt of the spool.
    with Outbox(folder, CONNECTION) as outbox:
        assert len(outbox.salt) == 16
    assert Store(folder, CONNECTION).look(lambda outbox: outbox.events.pending()) == 1
    assert len(Outbox.spools(folder)) == 1
    assert Store(folder, OTHER).look(lambda outbox: outbox.events.pending()) == 1
    assert Outbox.spools(folder) == []


def test_the_run_of_a_process_goes_on_in_the_spool_and_is_closed_once(folder: str) -> None:
    mine = Store(folder, CONNECTION, ME)
    mine.do(lambda outbox: outbox.runs.open("run", Watch(ME, "killed", "killed"), [event()]))
    with locked(folder):
        mine.do(lambda outbox: outbox.runs.close("run", [event(status="Done")]))
        with Store(folder, CONNECTION).opened_for_sending() as sending:
            assert sending.folder == mine.folder
            # What was not sent comes along, so that it still arrives first.
            for status in ("Processing", "Done"):
                claim = claimed(sending)
                assert f'"{status}"' in claim.body
                sending.claims.delivered(claim, "r")
    with Store(folder, CONNECTION).opened() as outbox:
        assert outbox.folder == folder
        assert outbox.runs.is_closed("run")
        assert counts(outbox) == {"delivered": 2}
        assert outbox.runs.close_vanished("run") == 0


def test_a_run_that_vanished_is_closed_in_the_spool_where_its_outbox_can_only_be_read(folder: str) -> None:
    gone = Process.of(_ended_process())
    mine = Store(folder, CONNECTION, gone)
    mine.do(lambda outbox: outbox.runs.open("run", Watch(gone, "killed", "killed"), [event(), event("b")]))
    with locked(folder):
        assert mine.do(lambda outbox: outbox.runs.close_vanished("run", 1_800_000_000)) == 2
        with mine.opened() as outbox:
            assert counts(outbox) == {"waiting": 4}
    with Store(folder, CONNECTION).opened() as outbox:
        assert counts(outbox) == {"waiting": 4}
        assert outbox.runs.vanished() == []


def test_the_parts_of_a_change_go_on_in_the_spool(folder: str) -> None:
    mine = Store(folder, CONNECTION, ME)
    uid = mine.do(lambda outbox: outbox.put(event(), run=Watch(ME, "left open")).uid)
    for host in ("h1", "h2"):
        mine.do(lambda outbox, host=host: outbox.runs.start_part(uid, host))  # type: ignore[misc]
    everybody = frozenset({"h1", "h2"})

    def end(host: str) -> str | None:
        part = Part(host, "done", "", "", 1_800_000_000.0)
        return mine.do(lambda outbox: outbox.runs.end_part("a", ME, part, everybody)).uid

    assert end("h1") is None
    with locked(folder):
        assert end("h2") is not None
    with mine.opened() as outbox:
        assert counts(outbox) == {"waiting": 2}


def test_an_answer_that_comes_after_the_spool_was_taken_in_is_recorded(folder: str) -> None:
    mine = Store(folder, CONNECTION)
    with locked(folder):
        uid = put(mine)
        sending = mine.opened_for_sending()
        claim = sending.claims.claim(LEASE)
        assert isinstance(claim, Claim)
    Store(folder, CONNECTION).take_in()
    with pytest.raises(OutboxError, match="deleted"):
        sending.claims.delivered(claim, "r")
    sending.close()
    with mine.opened_for_sending() as outbox:
        outbox.claims.delivered(claim, "r")
        assert outcome(outbox, uid).state == "delivered"


def test_who_only_looks_leaves_the_spool_where_it_is(folder: str) -> None:
    with locked(folder):
        put(Store(folder, CONNECTION))
    before = Outbox.spools(folder)
    assert Store(folder, CONNECTION, only_look=True).look(lambda outbox: outbox.events.pending()) == 0
    assert Outbox.spools(folder) == before != []


def _ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid
