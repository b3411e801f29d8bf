# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An outbox with a clock of its own, and a folder whose spool lies beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from outboxes import Clock

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox import folders, spool, store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(tmp_path: Path, clock: Clock) -> Iterator[Outbox]:
    with Outbox(str(tmp_path), durable=False, now=clock) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder of an outbox, which is waited for shortly, and whose spool lies beside it."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(folders, "_ROOTS", (str(tmp_path / "tmp"),))
    monkeypatch.setattr(folders, "_home", lambda: "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    for module, name in ((spool, "_PATIENCE"), (spool, "_PATIENCE_TAKING_IN"), (store, "_PATIENCE")):
        monkeypatch.setattr(module, name, 0.1)
    return str(tmp_path / "state")
