# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change's own labels and those of its outcome."""

from __future__ import annotations

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.change_labels import (
    outcome_of_several,
    with_outcome,
    without_outcome,
)


def test_the_changes_own_labels_stay_and_there_are_never_more_than_fifty() -> None:
    assert with_outcome({"result": "mine"}, {"result": "ok", "changed_hosts": "1"}) == {
        "result": "mine",
        "changed_hosts": "1",
    }
    full = {f"label{number}": "x" for number in range(49)}
    assert with_outcome(full, {"result": "ok", "changed_hosts": "1"}) == {**full, "result": "ok"}
    full["label49"] = "x"
    assert with_outcome(full, {"result": "ok"}) == full


def test_without_its_outcome_a_change_has_its_own_labels() -> None:
    own = {"env": "prod", "service": "shop"}
    assert without_outcome(with_outcome(own, {"result": "failed", "failed_host": "web1"})) == own


def test_several_runs_tell_the_worst_result_and_all_that_failed() -> None:
    failed = {"env": "prod", "result": "failed", "failed_host": "web1", "failed_task": "Migrate", "changed_hosts": "1"}
    lost = {"result": "unreachable", "failed_host": "db1", "changed_hosts": "2"}
    assert outcome_of_several(failed, [{"result": "ok", "changed_hosts": "2"}, lost, failed]) == {
        "result": "failed",
        "failed_host": "web1,db1",
        "failed_task": "Migrate",
        "changed_hosts": "6",
    }
    # Of a run that was killed, or for which the labels are turned off, less is known.
    assert outcome_of_several({"result": "killed"}, [{}]) == {"result": "killed"}
    long = {"failed_host": "x" * 2000}
    assert len(outcome_of_several(long, [{"failed_host": "y" * 2000}])["failed_host"]) <= 2048
