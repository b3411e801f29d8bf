# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a run ended for each of its hosts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import FailedTask, HostStatus, Outcome


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
    result = outcome.result(_stats(processed={"web1": 1, "db1": 1}, failures={"db1": 1}))
    assert result.hosts["web1"] is result.hosts["web2"] is HostStatus.NOT_REACHED


def test_in_a_run_that_did_not_fail_no_host_is_left_out() -> None:
    outcome = Outcome()
    outcome.play_starts("One", ["web1", "web2", "web3"])
    outcome.batch_starts(["web1", "web2"])
    result = outcome.result(_stats(processed={"web1": 1}))
    assert not result.failed
    assert set(result.hosts.values()) == {HostStatus.OK}


@pytest.mark.parametrize("start", ["", "_"], ids=["since 2.19", "before"])
def test_a_failed_task_is_read_by_the_names_that_core_has(start: str) -> None:
    task = SimpleNamespace(
        no_log=False,
        action="x",
        name="",
        get_name=lambda: "Stop",
        get_path=lambda: "/a/site.yml:3",
        get_ds=lambda: None,
    )
    found = FailedTask.of(SimpleNamespace(**{f"{start}task": task, f"{start}result": {"msg": "no"}}), True)
    assert (found.module, found.path, found.message) == ("x", "site.yml:3", "no")


def _failed(result: dict[str, Any]) -> str:
    task = SimpleNamespace(
        no_log=False, action="x", name="", get_name=lambda: "", get_path=lambda: None, get_ds=lambda: None
    )
    return FailedTask.of(SimpleNamespace(_task=task, _result=result), True).message


def test_the_message_of_a_loop() -> None:
    summary = "One or more items failed"
    item = {"failed": True, "msg": "no space"}
    assert _failed({"msg": summary, "results": [{"msg": "All fine"}, item]}) == "no space"
    assert _failed({"msg": summary, "results": [{"unreachable": True, "msg": "gone"}]}) == "gone"
    assert _failed({"msg": summary, "results": [{**item, "_ansible_no_log": True}]}) == ""
    assert _failed({"msg": summary, "results": [{"failed": True, "censored": "hidden"}]}) == ""
    assert _failed({"censored": "hidden", "results": [item]}) == ""
    # What a module returns under that name.
    assert _failed({"msg": "No package", "results": ["x"]}) == "No package"
