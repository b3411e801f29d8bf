# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run ended for each of its hosts, and a change as labels."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.change_labels import OUTCOME_LABELS
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.ending import outcome_labels, result_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import (
    FailedTask,
    HostStatus,
    Outcome,
    RunResult,
)

HOSTS = {
    "web1": HostStatus.OK,
    "web2": HostStatus.FAILED,
    "web10": HostStatus.FAILED,
    "db1": HostStatus.UNREACHABLE,
    "db2": HostStatus.STOPPED,
    "db3": HostStatus.NOT_REACHED,
}
RESULT = RunResult(True, HOSTS, frozenset({"web1", "web2"}), frozenset(HOSTS))


def labels(*hosts: str, failed: bool = True) -> dict[str, str]:
    outcome = Outcome()
    outcome.failures["web2"] = FailedTask("Migrate", "command", "", "no space left")
    outcome.failures["web10"] = FailedTask(None, "command", "", "")
    return outcome_labels(failed, RESULT, hosts, outcome)


def test_the_worst_that_happened_is_the_result() -> None:
    assert labels(*HOSTS) == {
        "result": "failed",
        "failed_host": "db1,web2,web10",
        "failed_task": "Migrate,no_log",
        "changed_hosts": "2",
    }
    assert {*labels(*HOSTS)} == {*OUTCOME_LABELS}
    # Hosts come from a set, in another order each time.
    assert labels(*reversed(HOSTS)) == labels(*HOSTS)
    assert labels("web1", "db1")["result"] == "unreachable"
    assert labels("web1", "db2", "db3") == {"result": "stopped", "changed_hosts": "1"}
    assert labels("db3") == {"result": "not_reached", "changed_hosts": "0"}


def test_a_run_that_failed_on_no_host_was_stopped() -> None:
    assert labels("web1")["result"] == "stopped"


def test_what_ends_well_names_no_failure_though_one_was_forgiven() -> None:
    assert labels("web1", "web2", failed=False) == {"result": "ok", "changed_hosts": "2"}


def _stats(**hosts: Any) -> SimpleNamespace:
    return SimpleNamespace(**{name: hosts.get(name, {}) for name in ("processed", "failures", "dark", "changed")})


def test_without_the_executor_the_statistics_tell() -> None:
    outcome = Outcome()
    outcome.play_starts("Deploy", ["web1", "web2", "web3"])
    outcome.batch_starts(["web1", "web2"])
    result = result_of(outcome, _stats(processed={"web1": 1, "web2": 1}, failures={"web2": 1}))
    assert result.failed
    assert dict(result.hosts) == {"web1": HostStatus.OK, "web2": HostStatus.FAILED, "web3": HostStatus.NOT_REACHED}
    assert outcome.pending_hosts == {"web3": "Deploy"}


def test_a_host_that_one_play_reached_and_the_next_did_not() -> None:
    outcome = Outcome()
    outcome.play_starts("One", ["web1"])
    outcome.batch_starts(["web1"])
    outcome.play_starts("Two", ["web1", "web2"])
    result = result_of(outcome, _stats(processed={"web1": 1, "db1": 1}, failures={"db1": 1}))
    assert result.hosts["web1"] is result.hosts["web2"] is HostStatus.NOT_REACHED


def test_in_a_run_that_did_not_fail_no_host_is_left_out() -> None:
    outcome = Outcome()
    outcome.play_starts("One", ["web1", "web2", "web3"])
    outcome.batch_starts(["web1", "web2"])
    result = result_of(outcome, _stats(processed={"web1": 1}))
    assert not result.failed
    assert set(result.hosts.values()) == {HostStatus.OK}
