# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the end of a run waits: as long as asked, and by default as what ends with it asks for."""

from __future__ import annotations

import os

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.wait import automatic_seconds


@pytest.mark.parametrize(
    ("system", "environ"),
    [
        ("awx", {}),
        ("gitlab", {}),
        ("shell", {"CI": "true"}),
        ("shell", {"CI": "1"}),
        ("shell", {"INVOCATION_ID": "0d1e2f"}),
    ],
)
def test_ten_seconds_where_everything_ends_with_the_job(system: str, environ: dict[str, str]) -> None:
    assert automatic_seconds(system, environ) == 10.0


@pytest.mark.parametrize("environ", [{}, {"CI": ""}, {"CI": "false"}, {"INVOCATION_ID": ""}])
def test_two_seconds_where_the_courier_outlives_the_run(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getsid", lambda pid: pid)
    assert automatic_seconds("shell", environ) == 2.0


def test_the_command_of_a_container_is_in_the_session_of_its_first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getsid", lambda _pid: 1)
    assert automatic_seconds("shell", {}) == 10.0
