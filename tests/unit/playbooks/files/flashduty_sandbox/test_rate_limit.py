# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The published rate limits."""

from __future__ import annotations

import re
from pathlib import Path

from sandbox_client import (
    APP,
    KEY,
    OTHER_KEY,
    ask,
    listed,
    push,
    taken,
)

from flashduty_sandbox.rate_limit import READS_PER_MINUTE, READS_PER_SECOND, RateLimit
from flashduty_sandbox.receiver import Receiver


def test_both_windows_slide() -> None:
    now = 0.0
    limit = RateLimit(per_second=3, per_minute=5, clock=lambda: now)
    assert [limit.admit(1) for _number in range(4)] == [True, True, True, False]
    assert limit.admit(2)
    now = 0.999
    assert not limit.admit(1)
    now = 1.0
    assert [limit.admit(1) for _number in range(3)] == [True, True, False]
    now = 59.9
    assert not limit.admit(1)
    now = 60.0
    assert [limit.admit(1) for _number in range(4)] == [True, True, True, False]


def test_the_published_limits() -> None:
    now = 0.0
    limit = RateLimit(clock=lambda: now)
    assert [limit.admit(1) for _number in range(101)].count(True) == 100
    for second in range(1, 10):
        now = float(second)
        assert [limit.admit(1) for _number in range(101)].count(True) == 100
    now = 10.0
    assert not limit.admit(1)
    now = 60.0
    assert limit.admit(1)


def test_too_many_requests_are_told_so(tmp_path: Path) -> None:
    with Receiver(tmp_path / "r.db", [KEY, OTHER_KEY], [APP], per_second=1000, per_minute=3) as running:
        assert push(running, title="").status == 400
        taken(running)
        taken(running)
        reply = push(running)
        assert reply.verdict == (429, "RequestTooFrequently")
        assert re.fullmatch(r"[0-9a-f]{32}", reply.json["request_id"])
        taken(running, OTHER_KEY)
        # Neither wrong keys nor questions count, and what is beside the API has no limit.
        assert push(running, "wrong").status == 400
        assert listed(running)["total"] == 2
        assert ask(f"{running.url}/sandbox/changes", method="GET").status == 200
        assert len(running.events()) == 3


def test_the_published_limits_of_reading() -> None:
    assert (READS_PER_SECOND, READS_PER_MINUTE) == (50, 1000)
