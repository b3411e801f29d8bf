# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run from its first play to the exit of ansible-playbook: when its changes begin, and how they end."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.executor.stats import AggregateStats
from deliveries import PATIENCE
from plays import Loaded

from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run import run as run_module
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import current_runs, set_current_runs
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.preview import Preview
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.run import Run

KEY = "CHG-7"
WEB, DB = ({"hosts": hosts, "gather_facts": False, "tasks": [{"debug": {"msg": "x"}}]} for hosts in ("web", "db"))
SITE = [{**WEB, "name": "first"}, {**DB, "name": "second"}]


class Playbook:
    """An ansible-playbook that runs in the process of the test: what it does, and what the user and Flashduty see.

    :param extra: extra variables.
    :param arguments: of the command line.
    """

    def __init__(self, folder: Path, exits: list[Callable[[], None]], plays: Any, **given: Any) -> None:
        self._exits = exits
        self.loaded = Loaded(folder, plays, **given)
        self.warnings: list[str] = []
        self.shown: list[dict[str, Any]] = []
        display = SimpleNamespace(verbosity=0, warning=self.warnings.append, vvv=lambda _text: None, display=self._show)
        self.run = Run(display)

    def _show(self, text: str, stderr: bool = False) -> None:
        assert not stderr
        self.shown.append(yaml.safe_load(text))

    @property
    def statuses(self) -> dict[str, list[str]]:
        """What was reported of each change, in order."""
        found: dict[str, list[str]] = {}
        for event in self.shown:
            found.setdefault(event["change_key"], []).append(event["change_status"])
        return found

    def start(self, name: str = "site.yml") -> None:
        """A playbook of the command line starts."""
        self.run.playbook_starts(str(self.loaded.path.parent / name), self.loaded.plays)

    def play(self, number: int = 0) -> None:
        """A play starts, or a batch of it."""
        self.run.play_starts(self.loaded.plays[number])

    def task(self, host: str, action: str = "ansible.builtin.debug") -> None:
        """A task has changed something."""
        task = SimpleNamespace(action=action, resolved_action=None)
        self.run.task_changed(SimpleNamespace(_task=task, _host=self.loaded.host(host)))

    def end(self, **hosts: str) -> None:
        """A playbook of the command line comes to its statistics: all is well but on these hosts.

        :param hosts: ``failures`` or ``dark``, and the host.
        """
        stats = AggregateStats()
        for host in ("web1", "web2", "db1"):
            stats.increment("ok", host)
        for what, host in hosts.items():
            stats.increment(what, host)
        self.run.playbook_ends(stats)

    def exit(self) -> None:
        """ansible-playbook exits."""
        for function in self._exits:
            function()


Makes = Callable[..., Playbook]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Makes]:
    """Makes a playbook of plays that previews the run with these options."""
    exits: list[Callable[[], None]] = []
    monkeypatch.setattr("atexit.register", exits.append)

    def make(plays: Any = None, arguments: dict[str, Any] | None = None, **options: Any) -> Playbook:
        chosen = {"preview": True, "change_key": KEY, **options}
        extra = {f"flashduty_{name}": value for name, value in chosen.items()}
        return Playbook(tmp_path, exits, SITE if plays is None else plays, extra=extra, **(arguments or {}))

    yield make
    set_current_runs(())


@pytest.fixture
def playbook(made: Makes) -> Playbook:
    """One that has started."""
    playbook = made()
    playbook.start()
    return playbook


# The beginning


def test_a_change_begins_with_the_first_play_and_ends_at_the_exit(playbook: Playbook) -> None:
    playbook.play()
    assert playbook.statuses == {KEY: ["Processing"]}
    playbook.play(1)
    playbook.end()
    # Until then, the exit code can still become another one.
    assert playbook.statuses == {KEY: ["Processing"]}
    playbook.exit()
    assert playbook.statuses == {KEY: ["Processing", "Done"]}
    assert playbook.warnings == []


def test_the_batches_of_a_play_are_one_play(made: Makes) -> None:
    playbook = made(progress="play")
    playbook.start()
    for number in (0, 0, 1, 1):
        playbook.play(number)
    assert playbook.statuses == {KEY: ["Processing", "Processing"]}


def test_each_host_is_a_change_that_begins_with_its_first_play(made: Makes) -> None:
    playbook = made(scope="host")
    playbook.start()
    playbook.play()
    assert playbook.statuses == {f"{KEY}/web1": ["Processing"], f"{KEY}/web2": ["Processing"]}
    playbook.play(1)
    playbook.end(failures="web2")
    playbook.exit()
    assert {key.partition("/")[2]: statuses[-1] for key, statuses in playbook.statuses.items()} == {
        "web1": "Done",
        "web2": "Canceled",
        "db1": "Done",
    }


def test_a_play_that_turned_reports_off_is_passed_over(made: Makes) -> None:
    playbook = made([{**WEB, "vars": {"flashduty_enabled": False}}, DB], scope="host")
    playbook.start()
    playbook.play()
    assert (playbook.shown, playbook.run.is_open) == ([], False)
    playbook.play(1)
    assert playbook.statuses == {f"{KEY}/db1": ["Processing"]}


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"preview": False, "integration_key": "k"}, None),
        ({"preview": True}, KEY),
        ({"preview": True, "report_check_mode": True}, f"{KEY}/check"),
    ],
)
def test_a_check_is_reported_where_that_is_asked_for(made: Makes, options: dict[str, Any], key: str | None) -> None:
    playbook = made(arguments={"check": True}, **options)
    playbook.start()
    playbook.play()
    assert [*playbook.statuses] == ([] if key is None else [key])
    assert playbook.warnings == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"preview": False}, "integration_key"),
        ({"scope": "everything"}, "scope"),
        ({"integration_key": "k", "timeout": -1}, "timeout"),
    ],
)
def test_what_cannot_be_used_is_told_once_and_nothing_reported(made: Makes, options: dict[str, Any], told: str) -> None:
    playbook = made(**options)
    playbook.start()
    playbook.play()
    playbook.play(1)
    playbook.end()
    playbook.exit()
    assert playbook.shown == []
    (warning,) = playbook.warnings
    assert warning.startswith("flashduty_change: this run is not reported to Flashduty: ")
    assert told in warning


def test_without_requests_nothing_can_be_sent_but_previewed(made: Makes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "requests_is_missing", lambda: "requests is missing")
    playbook = made(preview=False, integration_key="k")
    playbook.start()
    playbook.play()
    assert ["requests is missing" in warning for warning in playbook.warnings] == [True]
    playbook = made()
    playbook.start()
    playbook.play()
    assert playbook.statuses == {KEY: ["Processing"]}


def test_a_later_play_with_a_mistake_goes_on_with_the_settings_before_it(made: Makes) -> None:
    playbook = made([WEB, {**DB, "vars": {"flashduty_wait": "long"}}], scope="host")
    playbook.start()
    playbook.play()
    playbook.play(1)
    (warning,) = playbook.warnings
    assert "wait" in warning
    assert f"{KEY}/db1" in playbook.statuses


def test_what_could_not_be_stored_is_tried_again_with_the_next_play(
    playbook: Playbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, failures = Preview.put, [OutboxError("no room")]

    def fails_once(self: Preview, events: Any) -> None:
        if failures:
            raise failures.pop()
        put(self, events)

    monkeypatch.setattr(Preview, "put", fails_once)
    with pytest.raises(OutboxError):
        playbook.play()
    assert not playbook.run.is_open
    playbook.play(1)
    assert playbook.statuses == {KEY: ["Processing"]}


# Where only a change counts


def test_with_changed_a_change_begins_with_the_first_task_that_changes_something(made: Makes) -> None:
    playbook = made(report_when="changed", scope="host")
    playbook.start()
    playbook.play()
    assert (playbook.run.awaits_change, playbook.shown) == (True, [])
    # A report is no change.
    playbook.task("web1", _options.CALLBACK)
    assert playbook.shown == []
    for host in ("web1", "web1"):
        playbook.task(host)
    assert playbook.statuses == {f"{KEY}/web1": ["Processing"]}
    assert playbook.run.awaits_change
    playbook.task("web2")
    assert not playbook.run.awaits_change
    playbook.end()
    playbook.exit()
    assert playbook.statuses == {f"{KEY}/{host}": ["Processing", "Done"] for host in ("web1", "web2")}


def test_a_run_in_which_nothing_changed_is_not_reported(made: Makes) -> None:
    playbook = made(report_when="changed")
    playbook.start()
    playbook.play()
    playbook.end()
    playbook.exit()
    assert (playbook.shown, playbook.warnings) == ([], [])


def test_a_task_that_changes_something_before_any_play_is_reported_begins_nothing(made: Makes) -> None:
    playbook = made(enabled=False)
    playbook.start()
    playbook.play()
    playbook.task("web1")
    assert playbook.shown == []


# The tasks of the run


def test_tasks_join_the_change_of_their_host_while_it_is_open(made: Makes) -> None:
    playbook = made(report_when="changed", scope="host")
    playbook.start()
    assert current_runs() == ()
    playbook.play()
    playbook.task("web1")
    (run,) = current_runs()
    assert run is not None
    joined = {host: change and change.change_key for host in ("web1", "web2") for change in [run.change_of(host)]}
    assert joined == {"web1": f"{KEY}/web1", "web2": None}
    # What is only previewed has no outbox.
    assert run.store is None
    playbook.end()
    playbook.exit()
    assert current_runs() == ()


# The end


@pytest.mark.parametrize(
    ("ends", "status"),
    [({}, "Done"), ({"failures": "web1"}, "Canceled"), ({"dark": "web1"}, "Canceled"), (None, "Canceled")],
)
def test_how_a_run_ends(playbook: Playbook, ends: dict[str, Any] | None, status: str) -> None:
    playbook.play()
    if ends is not None:
        playbook.end(**ends)
    playbook.exit()
    assert playbook.statuses == {KEY: ["Processing", status]}
    assert not playbook.run.is_open
    playbook.exit()
    assert playbook.statuses == {KEY: ["Processing", status]}


@pytest.mark.parametrize("step", [-7200, 7200])
@pytest.mark.parametrize("is_finished", [True, False])
def test_a_clock_that_is_set_changes_no_duration(
    playbook: Playbook, monkeypatch: pytest.MonkeyPatch, step: int, is_finished: bool
) -> None:
    playbook.play()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + step)
    if is_finished:
        playbook.end()
    playbook.exit()
    began, ended = playbook.shown
    # Not before its beginning, and as the clock says otherwise.
    assert ended["event_time"] - began["event_time"] == 0 or step > 0
    assert ended["event_time"] <= max(time.time(), began["event_time"])
    assert re.search(r"\b\d{1,2} s[.,]", ended["description"])
    assert not re.search(r"\d h \d|\d min", ended["description"])


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        ({}, {}, "Done"),
        ({}, {"failures": "web1"}, "Canceled"),
        # It was not run: something stopped ansible-playbook between them.
        ({}, None, "Canceled"),
        # After one that fails, ansible-playbook starts no other.
        ({"failures": "web1"}, None, "Canceled"),
    ],
)
def test_a_run_of_several_playbooks_ends_with_the_last_one(
    made: Makes, first: dict[str, Any], second: dict[str, Any] | None, status: str
) -> None:
    playbook = made(arguments={"args": ("one.yml", "two.yml")})
    playbook.start("one.yml")
    playbook.play()
    playbook.end(**first)
    if second is not None:
        playbook.start("two.yml")
        playbook.play(1)
        playbook.end(**second)
    playbook.exit()
    assert playbook.statuses == {KEY: ["Processing", status]}


def test_a_program_that_runs_a_playbook_may_go_on_so_the_run_ends_with_it(made: Makes) -> None:
    playbook = made(arguments={"args": ()})
    playbook.start()
    playbook.play()
    playbook.end()
    assert playbook.statuses == {KEY: ["Processing", "Done"]}


def test_a_run_whose_output_broke_did_not_end_well(playbook: Playbook, monkeypatch: pytest.MonkeyPatch) -> None:
    playbook.play()
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as output, monkeypatch.context() as broken:
        broken.setattr("sys.stdout", output)
        output.write("a line that nobody reads")
        playbook.end()
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), writer)
    playbook.exit()
    assert playbook.statuses == {KEY: ["Processing", "Canceled"]}


def test_an_output_that_was_closed_by_the_exit_is_a_broken_one(
    playbook: Playbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    playbook.play()
    playbook.end()
    with monkeypatch.context() as broken:
        broken.setattr("sys.stderr", None)
        playbook.exit()
    assert playbook.statuses == {KEY: ["Processing", "Canceled"]}


def test_a_worker_that_exits_ends_nothing(playbook: Playbook, monkeypatch: pytest.MonkeyPatch) -> None:
    playbook.play()
    playbook.end()
    with monkeypatch.context() as worker:
        worker.setattr(os, "getpid", lambda: -1)
        playbook.exit()
    assert playbook.statuses == {KEY: ["Processing"]}


def test_the_end_is_waited_for_as_long_as_asked_and_shortly_after_an_interrupt(
    made: Makes, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(Preview, "wait", lambda _self, seconds, _beside: waits.append(seconds))
    for seconds, comes_to_its_end in ((PATIENCE, True), (PATIENCE, False), (0.5, False)):
        playbook = made(wait=seconds)
        playbook.start()
        playbook.play()
        if comes_to_its_end:
            playbook.end()
        playbook.exit()
    assert waits == [PATIENCE, 2.0, 0.5]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OutboxError("no room")])
def test_an_error_at_the_exit_is_no_traceback(
    playbook: Playbook, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fails(_self: Preview, _events: Any) -> None:
        raise error

    playbook.play()
    playbook.end()
    monkeypatch.setattr(Preview, "close", fails)
    playbook.exit()
    assert [warning.endswith("no room") for warning in playbook.warnings] == [True] * isinstance(error, OutboxError)
    # Whoever tries again stores the same.
    assert playbook.run.is_open


@pytest.mark.parametrize(("before", "after", "status"), [(0, 0, "Done"), (1, 0, "Done"), (0, 1, "Canceled")])
def test_an_interrupt_counts_that_came_after_the_statistics(
    made: Makes,
    tmp_path: Path,
    wakeup: list[int],
    monkeypatch: pytest.MonkeyPatch,
    before: int,
    after: int,
    status: str,
) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")
    monkeypatch.setenv("FLASHDUTY_STATE_DIR", str(tmp_path / "state"))
    playbook = made(preview=False, integration_key="k", api_url="http://127.0.0.1:1")
    playbook.start()
    playbook.play()
    (run,) = current_runs()
    assert run is not None
    assert run.store is not None
    os.write(wakeup[0], bytes([signal.SIGINT]) * before)
    playbook.end()
    os.write(wakeup[0], bytes([signal.SIGINT]) * after)
    playbook.exit()
    with run.store.opened() as outbox:
        rows = outbox.database.rows("SELECT change_status FROM events ORDER BY id")
        assert [row["change_status"] for row in rows] == ["Processing", status]
        assert outbox.runs.is_closed(run.run)
    assert playbook.run.signals is not None
    os.close(playbook.run.signals.reader)


def test_an_error_of_ours_is_told_with_what_it_means(playbook: Playbook) -> None:
    playbook.run.failed("v2_playbook_on_play_start", ValueError("of ours"))
    playbook.play()
    playbook.run.failed("v2_playbook_on_play_start", ValueError("of ours"))
    before, after = playbook.warnings
    assert "nothing is reported yet; the next play is tried again" in before
    assert "the final status will still be sent" in after
    assert all("(in v2_playbook_on_play_start, ValueError: of ours)" in warning for warning in playbook.warnings)
