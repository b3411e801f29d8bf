# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the doctor says of the outbox that several nodes share."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from outboxes import CONNECTION

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks import doctor_shared
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.doctor_shared import SharedState, examine_shared

URL = "postgresql://flash:s3cret-word@db/flashduty"
WELL = SharedState("ok", False, True, ("deploy01 3f9a2c41",), 1)


def _examined(monkeypatch: pytest.MonkeyPatch, state: SharedState | None) -> list[str]:
    """The kinds of what is found; None where it cannot be used."""

    def look_at(*_: object) -> SharedState:
        if state is None:
            raise OutboxError("connection refused")
        return state

    monkeypatch.setitem(sys.modules, "psycopg", types.ModuleType("psycopg"))
    monkeypatch.setattr(doctor_shared, "look_at", look_at)
    found = [*examine_shared(URL, [CONNECTION])]
    assert "s3cret-word" not in str([each.said(language) for each in found for language in ("en", "zh")])
    return [each.kind.removeprefix("shared-outbox") for each in found]


@pytest.mark.parametrize(
    ("state", "kinds"),
    [
        (WELL, [""]),
        (WELL._replace(is_private=False), ["-plain", ""]),
        (WELL._replace(is_read_only=True), ["-read-only", ""]),
        (WELL._replace(waiting=3), ["", "-waiting"]),
        (WELL._replace(waiting=3, vanished=1), ["", "-waiting", "-vanished-runs"]),
        # Without tables that can be used, nothing in them is looked at.
        *((WELL._replace(tables=tables, waiting=3), [f"-{tables}"]) for tables in ("no-tables", "older", "newer")),
        (WELL._replace(tables="forbidden", is_private=False), ["-plain", "-forbidden"]),
        (None, ["-not-usable"]),
    ],
)
def test_each_state_is_told(monkeypatch: pytest.MonkeyPatch, state: SharedState | None, kinds: list[str]) -> None:
    assert _examined(monkeypatch, state) == kinds


def test_without_psycopg_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(doctor_shared, "look_at", lambda *given: asked.append(given))
    monkeypatch.setitem(sys.modules, "psycopg", None)
    (found,) = examine_shared(URL, [CONNECTION])
    assert (found.kind, asked) == ("psycopg-missing", [])
