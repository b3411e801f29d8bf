# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change's own labels and those of its outcome."""

from __future__ import annotations

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.change_labels import (
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
