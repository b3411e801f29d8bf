# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the callback tells the run of what ansible-core tells it; an error of ours fails no playbook."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible.plugins.callback import CallbackBase
from plays import Loaded

from ansible_collections.flashcat.flashduty.plugins.callback.flashduty_change import CallbackModule


class Run:
    """Records what it is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.awaits_change = False

    def __getattr__(self, name: str) -> Any:
        return lambda *_arguments: self.heard.append(name)


@pytest.fixture
def callback() -> CallbackModule:
    made = CallbackModule()
    made._run = cast(Any, Run())
    return made


def heard(callback: CallbackModule) -> list[str]:
    found: list[str] = callback._run.heard  # type: ignore[union-attr]
    return found


def result(changed: bool) -> Any:
    return SimpleNamespace(is_changed=lambda: changed)


def awaiting(callback: CallbackModule) -> None:
    """From now on a change begins with the first task that changes something."""
    callback._run.awaits_change = True  # type: ignore[union-attr]
    callback.v2_playbook_on_play_start(None)
    heard(callback).clear()


def test_a_command_of_ansible_is_no_run() -> None:
    callback = CallbackModule()
    callback.v2_playbook_on_start(SimpleNamespace(_file_name="__adhoc_playbook__"))
    assert (callback.disabled, callback._run) == (True, None)
    for hook in (callback.v2_playbook_on_play_start, callback.v2_playbook_on_stats, callback.v2_runner_on_failed):
        hook(None)
    assert callback._run is None


def test_the_playbooks_of_one_command_line_are_one_run(tmp_path: Path) -> None:
    loaded = Loaded(tmp_path, [{"hosts": "web"}])
    playbook = SimpleNamespace(_file_name=str(loaded.path), get_plays=lambda: loaded.plays)
    callback = CallbackModule()
    callback.v2_playbook_on_start(playbook)
    run = callback._run
    callback.v2_playbook_on_start(playbook)
    assert run is not None
    assert callback._run is run


def test_what_happens_is_told(callback: CallbackModule) -> None:
    callback.v2_playbook_on_play_start(None)
    callback.v2_runner_on_failed(result(False))
    callback.v2_runner_on_unreachable(result(False))
    callback.v2_playbook_on_stats(None)
    assert heard(callback) == ["play_starts", "host_failed", "host_failed", "playbook_ends"]


def test_a_failure_that_is_ignored_is_none(callback: CallbackModule) -> None:
    callback.v2_runner_on_failed(result(False), ignore_errors=True)
    assert heard(callback) == []


@pytest.mark.parametrize("changed", [True, False])
def test_only_where_a_change_is_awaited_tasks_are_looked_at(callback: CallbackModule, changed: bool) -> None:
    callback.v2_runner_on_ok(None)
    assert heard(callback) == []
    awaiting(callback)
    callback.v2_runner_on_ok(result(changed))
    assert heard(callback) == ["task_changed"] * changed


def test_a_task_that_changed_something_before_it_failed_counts(callback: CallbackModule) -> None:
    awaiting(callback)
    callback.v2_runner_on_failed(result(True))
    assert heard(callback) == ["host_failed", "task_changed"]


def test_an_error_of_ours_is_told_with_the_method_and_does_not_fail_the_playbook(callback: CallbackModule) -> None:
    told: list[tuple[str, str]] = []
    run: Any = callback._run
    run.play_starts = lambda _play: 1 / 0
    run.failed = lambda method, error: told.append((method, type(error).__name__))
    callback.v2_playbook_on_play_start(None)
    assert told == [("v2_playbook_on_play_start", "ZeroDivisionError")]


def test_an_error_before_there_is_a_run_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    callback = CallbackModule()
    warnings: list[str] = []
    callback._display = SimpleNamespace(warning=warnings.append)
    callback.v2_playbook_on_start(None)
    (warning,) = warnings
    assert warning.startswith("flashduty_change: this run is not reported: AttributeError: ")


def test_options_that_cannot_be_used_do_not_keep_it_from_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_arguments: Any, **_options: Any) -> None:
        raise ValueError("an invalid choice")

    monkeypatch.setattr(CallbackBase, "set_options", fails)
    callback = CallbackModule()
    callback.set_options()
    assert not callback.disabled
