# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An outbox with a clock of its own, and a folder whose spool lies beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from outboxes import Clock, outbox_in

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox import database, folders, spool
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import AnyOutbox


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(tmp_path: Path, clock: Clock) -> Iterator[AnyOutbox]:
    """An outbox in SQLite, or in the PostgreSQL that OUTBOX_URL names: the rules are the same."""
    url = os.environ.get("OUTBOX_URL")
    with _in_postgres(url, clock) if url else outbox_in(tmp_path, clock) as outbox:
        yield outbox


def _in_postgres(url: str, clock: Clock) -> AnyOutbox:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.postgres import PostgresDatabase
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared_schema import migrate

    migrate(url)
    database = PostgresDatabase(url)
    with database.writing() as transaction:
        transaction.execute("TRUNCATE events, runs, integrations, parts, pauses, sendings")
    database.now = clock  # type: ignore[method-assign]
    return AnyOutbox(database, "integration-1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder of an outbox, which is waited for shortly, and whose spool lies beside it."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(folders, "_ROOTS", (str(tmp_path / "tmp"),))
    monkeypatch.setattr(folders, "_home", lambda: "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(database, "PATIENCE", 0.1)
    monkeypatch.setattr(spool, "_PATIENCE_TAKING_IN", 0.1)
    return str(tmp_path / "state")
