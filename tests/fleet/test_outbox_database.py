# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook that makes the tables: only what is missing, with the least rights, and no password in what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from fleet import Node
from postgresql import Database

from flashduty_sandbox.receiver import Receiver

PLAYBOOK = "flashcat.flashduty.outbox_database"
TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'flashduty'"


@pytest.fixture
def owner(tmp_path: Path, receiver: Receiver, database: Database) -> Iterator[Node]:
    made = Node(tmp_path / "owner", receiver, database.owner_url)
    del made.environment["FLASHDUTY_PUSH_URL"]
    yield made
    made.close()


def test_it_makes_what_is_missing_and_a_node_can_use_it(owner: Node, database: Database) -> None:
    arguments = (PLAYBOOK, "-e", f"grant_to={database.user}")
    code, output = owner.run(*arguments, "--check")
    assert (code, "made the tables" in output, database.rows(TABLES)) == (0, True, [(0,)])
    code, output = owner.run(*arguments, "-vvvvv")
    assert (code, "changed=1" in output) == (0, True), output
    assert f"let the role {database.user} use them" in output
    assert database.password not in output
    code, output = owner.run(*arguments)
    assert (code, "changed=0" in output, "Nothing was to do." in output) == (0, True, True), output
    with psycopg.connect(database.url) as node:
        node.execute("INSERT INTO flashduty.runs (id, integration, process, opened_at, seen_at, vanished_text,"
                     " vanished_result) VALUES ('r', 'i', 'p', 0, 0, '', '')")  # fmt: skip
        node.rollback()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            node.execute("DROP TABLE flashduty.events")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "outbox_url: is not set"),
        ("mysql://owner:s3cret-word@db", "outbox_url: must be an address that begins with postgresql://"),
        ("postgresql://owner:s3cret-word@127.0.0.1:1/flash", "127.0.0.1"),
    ],
)
def test_what_keeps_it_from_that_is_said(owner: Node, url: str, told: str) -> None:
    owner.environment["FLASHDUTY_OUTBOX_URL"] = url
    code, output = owner.run(PLAYBOOK, "-vvvvv")
    assert (code, told in " ".join(output.split())) == (2, True), output
    assert "s3cret-word" not in output
    assert "Traceback" not in output


def test_a_role_without_rights_is_told_what_postgresql_says(owner: Node, database: Database) -> None:
    owner.environment["FLASHDUTY_OUTBOX_URL"] = database.url
    code, output = owner.run(PLAYBOOK)
    assert (code, "permission denied" in output) == (2, True), output
    assert database.password not in output
