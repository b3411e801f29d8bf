# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The labels of a change: its own, which stay, and at its end those that say how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    LABEL_VALUE_MAX,
    LABELS_MAX,
    shortened,
)

# The most useful first: where there is no room for all, the last ones go.
OUTCOME_LABELS = ("result", "failed_host", "failed_task", "changed_hosts")


def with_outcome(labels: Mapping[str, str], outcome: Mapping[str, str]) -> dict[str, str]:
    """The labels of a change and those of its outcome; of one name, the change's own count, and so they do where there
    is no room for both."""
    new = {key: value for key, value in outcome.items() if key not in labels}
    return {**labels, **dict([*new.items()][: LABELS_MAX - len(labels)])}


def without_outcome(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels of a change but those of its outcome: it goes on, or another outcome is compared with it."""
    return {name: value for name, value in labels.items() if name not in OUTCOME_LABELS}


def outcome_of_several(worst: Mapping[str, str], others: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The labels of the outcome of a change that several runs had a part in: the worst one's result, and what all of
    them say of hosts and tasks.

    :param worst: the labels of the end that is the worst.
    :param others: those of the other ends.
    """
    ends = [worst, *others]
    outcome = {"result": worst.get("result", "")}
    for name in ("failed_host", "failed_task"):
        values = [*dict.fromkeys(value for labels in ends if (value := labels.get(name)))]
        outcome[name] = shortened(",".join(values), LABEL_VALUE_MAX)
    counts = [value for labels in ends if (value := labels.get("changed_hosts", "")).isdigit()]
    outcome["changed_hosts"] = str(sum(map(int, counts))) if counts else ""
    return {name: value for name, value in outcome.items() if value}
