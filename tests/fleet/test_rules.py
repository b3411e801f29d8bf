# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the outbox are one: their unit tests, which ran on SQLite, run on PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from control_node import KEY
from fleet import Node
from postgresql import Database

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.postgres import PostgresDatabase
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared import SharedOutbox
from flashduty_sandbox.receiver import Receiver

UNIT = Path(__file__).parents[1] / "unit" / "plugins" / "plugin_utils" / "_outbox"
# Of how SQLite stores it.
OF_THE_FILE = "leaves_no_holes or costs_the_same"
DAY = 86400


def test_the_rules_hold_in_postgresql(database: Database, tmp_path: Path) -> None:
    tests = [str(UNIT / f"test_{name}.py") for name in ("events", "runs", "claims", "listing", "integrations", "parts")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-o", f"cache_dir={tmp_path}", "-k", f"not ({OF_THE_FILE})", *tests],
        env={**os.environ, "OUTBOX_URL": database.owner_url},
        cwd=UNIT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout


def test_a_database_that_cannot_be_reached_says_so_and_shows_no_password() -> None:
    with pytest.raises(OutboxError, match="port 9 failed") as caught:
        PostgresDatabase("postgresql://user:hidden-1234@127.0.0.1:9/db")
    assert "hidden-1234" not in str(caught.value)


def test_delivered_events_are_forgotten_after_7_days_and_the_last_of_each_change_after_90(
    node: Node, database: Database, receiver: Receiver
) -> None:
    site = node.write("site.yml", "- hosts: web1\n  gather_facts: false\n  tasks: [ansible.builtin.raw: 'true']\n")
    assert node.run("-e", "flashduty_change_key=a", site)[0] == 0
    assert node.run("-e", "flashduty_change_key=b", site)[0] == 0
    # A run that is open needs its events.
    database.rows("UPDATE flashduty.runs SET closed_at = NULL WHERE id = (SELECT min(run) FROM flashduty.events)")
    kept = []
    for days in (6, 2, 81, 2):
        database.rows(
            f"UPDATE flashduty.events SET put_at = put_at - {days * DAY}, settled_at = settled_at - {days * DAY}"
        )
        database.rows("DELETE FROM flashduty.pauses")
        with SharedOutbox.open(Connection(receiver.url, KEY, outbox_url=database.url)) as shared:
            shared.prune()
        kept.append(database.rows("SELECT change_status, count(*) FROM flashduty.events GROUP BY 1 ORDER BY 1"))
    assert kept == [
        [("Done", 2), ("Processing", 2)],
        [("Done", 2), ("Processing", 1)],
        [("Done", 2), ("Processing", 1)],
        [("Done", 1), ("Processing", 1)],
    ]


def test_statements_go_out_together_until_a_result_is_looked_at(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = PostgresDatabase(database.owner_url)
    sent: list[str] = []
    execute = psycopg.Connection.execute

    def counted(self: psycopg.Connection[object], query: str, *arguments: object) -> object:
        sent.append(query)
        return execute(self, query, *arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(psycopg.Connection, "execute", counted)
    with opened.writing() as transaction:
        transaction.execute("CREATE TEMPORARY TABLE words (word text)")
        changed = transaction.execute("INSERT INTO words VALUES (?), ('100 %'), ('a')", ("it's",))
        found = transaction.execute("SELECT word FROM words ORDER BY word")
        assert found.fetchone()["word"] == "100 %"
        assert [row["word"] for row in found.fetchall()] == ["a", "it's"]
        assert changed.rowcount == 3
        transaction.execute("DELETE FROM words WHERE word = :word", {"word": "it's"})
    assert len(sent) == 3

    def delete_from_nowhere() -> None:
        with opened.writing() as transaction:
            transaction.execute("DELETE FROM words")
            transaction.execute("DELETE FROM nowhere")

    with pytest.raises(OutboxError, match="nowhere"):
        delete_from_nowhere()
    assert opened.rows("SELECT count(*) FROM words")[0][0] == 2
    opened.close()
