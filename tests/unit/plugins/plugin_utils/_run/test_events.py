# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The events of a change: whose truth they tell, when they are dated, and what is kept out of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from plays import play_with

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import TargetHost
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.change_labels import OUTCOME_LABELS
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.changes import Change, Changes
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.ending import Reason, canceled, ended
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.events import Events
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import (
    FailedTask,
    HostStatus,
    Outcome,
    RunResult,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.settings import Settings
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.templates import PlayTexts

try:
    from ansible.template import trust_as_template
except ImportError:  # ansible-core 2.18 and older

    def trust_as_template(value: str) -> str:
        return value


SECRET = "8f3c0ad5e1b24c67"
STATUSES = {"web1": HostStatus.OK, "web2": HostStatus.OK, "db1": HostStatus.FAILED}
FAILED = RunResult(True, STATUSES, frozenset({"web1"}), frozenset(STATUSES))


class PlaybookExecutor:
    """Known by its name to whatever is called while it runs."""

    def __init__(self, **hosts: dict[str, Any]) -> None:
        stats = SimpleNamespace(changed=hosts["changed"])
        self._tqm = SimpleNamespace(
            _failed_hosts=hosts["failed"], _unreachable_hosts=hosts["unreachable"], _stats=stats
        )

    def run(self, outcome: Outcome) -> None:
        outcome.play_starts("Deploy", ["web1", "web2"])


class Made:
    """The events of changes of a play on web1 and web2, in a run on db1 too."""

    def __init__(self, settings: Settings, **templates: str) -> None:
        self.settings = settings
        self.notices = Notices()
        self.outcome = Outcome()
        self.outcome.failures["db1"] = FailedTask("Migrate", "command", "", "")
        self.events = Events(settings, lambda text: text.replace(SECRET, "***"), self.outcome)
        trusted = {name: trust_as_template(text) for name, text in templates.items()}
        self.texts = PlayTexts("", "site.yml", play_with({}), (), trusted, self.notices) if trusted else None

    def changes(self, began: float | None = None) -> list[Change]:
        changes = Changes(self.settings, self.notices)
        targets = [TargetHost(name, (), {"service": f"shop {SECRET}"}) for name in ("web1", "web2")]
        return changes.add_play(["all"], targets, "site.yml", self.texts, began or time.time())


@pytest.fixture
def made(made_settings: Callable[..., Settings]) -> Callable[..., Made]:
    def make(templates: dict[str, str] | None = None, **options: Any) -> Made:
        return Made(made_settings(**options), **(templates or {}))

    return make


def test_the_change_of_a_whole_run_has_the_runs_truth_and_all_its_hosts(made: Callable[..., Made]) -> None:
    run = made()
    (change,) = run.changes()
    event = ended(run.events, change, FAILED, time.time())
    assert event.change_status == "Canceled"
    assert "db1" in str(event.description)
    assert (event.labels["result"], event.labels["failed_host"]) == ("failed", "db1")


def test_a_part_of_a_run_has_the_truth_of_its_own_hosts(made: Callable[..., Made]) -> None:
    run = made()
    (change,) = run.changes()
    event = ended(run.events, change, FAILED, time.time(), is_whole=False)
    assert event.change_status == "Done"
    assert "db1" not in str(event.description)
    assert (event.labels["result"], event.labels["changed_hosts"]) == ("ok", "1")


def test_each_host_has_its_own_truth_whatever_the_run(made: Callable[..., Made]) -> None:
    run = made(scope="host", change_key="CHG-7")
    run.outcome.failures["web2"] = FailedTask("Migrate", "command", "", "")
    result = FAILED._replace(hosts={**STATUSES, "web2": HostStatus.FAILED}, ran=frozenset())
    last = [ended(run.events, change, result, time.time()) for change in run.changes()]
    assert {event.change_key: event.change_status for event in last} == {
        "CHG-7/web1": "Done",
        "CHG-7/web2": "Canceled",
    }


@pytest.mark.parametrize("set_by", [-3600, 3600])
def test_a_clock_that_is_set_dates_no_end_before_its_beginning_or_ahead(
    made: Callable[..., Made], set_by: float
) -> None:
    run = made()
    began = time.time()
    (change,) = run.changes(began)
    event = ended(run.events, change, FAILED, began + set_by)
    assert int(began) <= (event.event_time or 0) <= time.time()


def test_why_a_run_did_not_come_to_its_end(made: Callable[..., Made]) -> None:
    run = made()
    (change,) = run.changes()
    event = canceled(run.events, change, Reason("interrupted", "Interrupted by Ctrl-C"))
    assert (event.change_status, event.labels["result"]) == ("Canceled", "interrupted")
    assert str(event.description).startswith("Interrupted by Ctrl-C\n")
    (change,) = made(outcome_labels=False).changes()
    assert "result" not in canceled(made(outcome_labels=False).events, change, Reason("stopped", "x")).labels


def test_what_had_failed_until_then_is_told_too(made: Callable[..., Made]) -> None:
    run = made(scope="host")
    run.outcome.failures.update(dict.fromkeys(("web1", "web2"), FailedTask("Migrate", "command", "", "")))
    executor = PlaybookExecutor(failed={"web2": True}, unreachable={}, changed={"web1": 3})
    executor.run(run.outcome)
    last = [canceled(run.events, change, Reason("interrupted", "x")).labels for change in run.changes()]
    told = [{name: labels[name] for name in OUTCOME_LABELS if name in labels} for labels in last]
    # What was rescued on web1 is no failure.
    assert told == [
        {"result": "interrupted", "changed_hosts": "1"},
        {"result": "interrupted", "failed_host": "web2", "failed_task": "Migrate", "changed_hosts": "0"},
    ]


def test_no_key_gets_into_an_event(made: Callable[..., Made]) -> None:
    run = made(dict.fromkeys(("title", "description"), f"of {SECRET}"), label_vars=["service"])
    (change,) = run.changes()
    event = run.events.started(change, None)
    assert (event.title, event.description, event.labels["service"]) == ("of ***", "of ***", "shop ***")


def test_templates_see_what_the_run_knows(made: Callable[..., Made]) -> None:
    run = made({"title": "{{ flashduty_run.status }} on {{ flashduty_run.hosts | join('+') }}"})
    (change,) = run.changes()
    assert run.events.started(change, None).title == "Processing on web1+web2"
    assert ended(run.events, change, FAILED, time.time()).title == "Canceled on web1+web2"
    assert run.notices.take() == []
