# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The labels of a change: its own, which stay, and at its end those that say how it ended.

Private to this collection; may change in any release.
"""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import LABELS_MAX

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
