# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the outbox are one: their unit tests, which ran on SQLite, run on PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from postgresql import Database

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.postgres import PostgresDatabase

UNIT = Path(__file__).parents[1] / "unit" / "plugins" / "plugin_utils" / "_outbox"
# Of how SQLite stores it.
OF_THE_FILE = "leaves_no_holes or costs_the_same"


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
