# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts through the plays of a run, and the executor that runs them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import (
    Outcome,
    executor_frame,
    manager_of,
    part_of,
)


@pytest.mark.parametrize("start", ["", "_"], ids=["since 2.19", "before"])
def test_a_result_is_read_by_the_names_that_core_has(start: str) -> None:
    result = SimpleNamespace(**{f"{start}host": "web1", f"{start}task": "Restart"})
    assert (part_of(result, "host"), part_of(result, "task")) == ("web1", "Restart")


def test_a_host_is_pending_until_its_batch_begins_and_again_in_the_next_play() -> None:
    outcome = Outcome()
    outcome.play_starts("Upgrade", ["web1", "web2"])
    assert outcome.pending_hosts == {"web1": "Upgrade", "web2": "Upgrade"}
    outcome.batch_starts(["web1"])
    assert outcome.pending_hosts == {"web2": "Upgrade"}
    outcome.play_starts("Verify", ["web1", "db1"])
    assert outcome.pending_hosts == {"web2": "Upgrade", "web1": "Verify", "db1": "Verify"}
    # A host that a play has added meanwhile was pending nowhere.
    outcome.batch_starts(["web1", "db1", "added"])
    assert outcome.pending_hosts == {"web2": "Upgrade"}
    assert outcome.targeted == {"web1", "web2", "db1"}


class PlaybookExecutor:
    """As far as its frame is looked at."""

    _tqm = "the task queue manager"

    def run(self) -> object:
        outcome = Outcome()
        outcome.play_starts("Upgrade", ["web1"])
        return outcome.manager


def test_the_task_queue_manager_is_that_of_the_executor_whose_run_goes_on() -> None:
    assert PlaybookExecutor().run() == "the task queue manager"


def test_without_an_executor_there_is_none() -> None:
    assert executor_frame() is None
    assert manager_of(None) is None
    outcome = Outcome()
    outcome.play_starts("Upgrade", ["web1"])
    assert outcome.manager is None
