# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the sandbox keeps, and over a restart."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from sandbox_client import (
    EVENT,
    KEY,
    OTHER_KEY,
    PATIENCE,
    ask,
    push,
    taken,
)

from flashduty_sandbox import rules
from flashduty_sandbox.history import StoreError
from flashduty_sandbox.receiver import Receiver


def test_what_came_is_written_down(receiver: Receiver) -> None:
    before = time.time()
    ask(receiver.push_url(KEY), EVENT, headers={"User-Agent": "probe/1"})
    ask(receiver.push_url(KEY), b"\xff{", headers={"User-Agent": "probe/2"})
    good, bad = receiver.requests()
    assert (good["number"], good["user_agent"], good["method"], good["path"], good["status"]) == (
        1,
        "probe/1",
        "POST",
        rules.PUSH_PATH,
        200,
    )
    assert json.loads(good["body"]) == EVENT
    assert before <= good["received"] <= bad["received"] <= time.time()
    assert (bad["verdict"], bad["body"], bad["integration_id"]) == (
        "InvalidParameter",
        "\\xff{",
        good["integration_id"],
    )


def test_waiting_for_something(receiver: Receiver) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(receiver.wait_for, lambda: len(receiver.events()) == 2)
        taken(receiver)
        taken(receiver)
        waiting.result(PATIENCE)
    with pytest.raises(TimeoutError):
        receiver.wait_for(lambda: len(receiver.events()) == 3, timeout=0.05)


def test_a_failure_inside_is_an_internal_error(receiver: Receiver, capfd: pytest.CaptureFixture[str]) -> None:
    receiver._store.close()
    reply = push(receiver)
    assert reply.verdict == (500, "InternalError")
    assert "Traceback" in capfd.readouterr().err


def test_a_restart_on_the_same_port_keeps_everything(tmp_path: Path) -> None:
    with Receiver(tmp_path / "r.db", ["a", "b"]) as first:
        taken(first, "b")
        port, ids = first.port, (first.integration_id("a"), first.integration_id("b"))
        idle = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        held = first.changes()
    with Receiver(tmp_path / "r.db", ["c", "b", "a"], port=port) as second:
        assert second.port == port
        assert second.changes() == held
        assert (second.integration_id("a"), second.integration_id("b")) == ids
        assert second.integration_id("c") not in ids
        taken(second, "b", change_status="Done", event_time=1_700_000_001)
        assert second.changes()[0]["event_count"] == 2
    idle.close()
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("r.db*")} == {0o600}


@pytest.mark.parametrize("content", [b"not a database, and long enough to be sure of it" * 50, None])
def test_what_is_no_store_is_left_alone(tmp_path: Path, content: bytes | None) -> None:
    database = tmp_path / "r.db"
    if content is None:
        with Receiver(database):
            pass
        import sqlite3

        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA user_version = 99")
    else:
        database.write_bytes(content)
    before = database.read_bytes()
    with pytest.raises(StoreError, match=re.escape(str(database))):
        Receiver(database).start()
    assert database.read_bytes() == before


def test_push_urls_are_quoted(receiver: Receiver) -> None:
    assert receiver.push_url(OTHER_KEY).endswith(f"?integration_key={quote(OTHER_KEY, safe='')}")
    assert receiver.push_url() == receiver.push_url(KEY)
    taken(receiver, OTHER_KEY)
