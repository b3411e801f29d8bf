# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a run ended for each of its hosts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import HostStatus, Outcome


def _stats(**hosts: Any) -> SimpleNamespace:
    return SimpleNamespace(**{name: hosts.get(name, {}) for name in ("processed", "failures", "dark", "changed")})


def test_without_the_executor_the_statistics_tell() -> None:
    outcome = Outcome()
    outcome.play_starts("Deploy", ["web1", "web2", "web3"])
    outcome.batch_starts(["web1", "web2"])
    result = outcome.result(_stats(processed={"web1": 1, "web2": 1}, failures={"web2": 1}))
    assert result.failed
    assert dict(result.hosts) == {"web1": HostStatus.OK, "web2": HostStatus.FAILED, "web3": HostStatus.NOT_REACHED}
    assert outcome.pending_hosts == {"web3": "Deploy"}


def test_a_host_that_one_play_reached_and_the_next_did_not() -> None:
    outcome = Outcome()
    outcome.play_starts("One", ["web1"])
    outcome.batch_starts(["web1"])
    outcome.play_starts("Two", ["web1", "web2"])
    result = outcome.result(_stats(processed={"web1": 1}, failures={}))
    assert result.hosts["web1"] is result.hosts["web2"] is HostStatus.NOT_REACHED
