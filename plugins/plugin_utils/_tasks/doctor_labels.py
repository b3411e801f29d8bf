# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the doctor says of the labels that the hosts of the inventory will give.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from ansible import context

from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.inventory_path import labels_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import LabelRules, RunLabels
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.variables import targets
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import language_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.finding import Finding, found


def guessed_env(play: Any, options: Mapping[str, Any]) -> Iterator[Finding]:
    """From what the label ``env`` is guessed, for all hosts of the inventory.

    :param play: the doctor's own.
    """
    notices = Notices()
    rules = LabelRules.from_options(
        options["label_groups"] or (),
        options["label_vars"] or (),
        options["labels"] or {},
        notices,
        vars_by_default=_options.is_default("label_vars", options),
    )
    labels = RunLabels(rules, labels_of(context.CLIARGS.get("inventory") or (), os.getcwd()), notices)
    hosts = play.get_variable_manager()._inventory.get_hosts(ignore_restrictions=True, ignore_limits=True)
    if not hosts:
        return
    labels.add_play(targets(play, hosts, rules.variable_names, notices, written=rules.written_names))
    origin, env = labels.env_origin(), labels.labels().get("env")
    if origin:
        yield found("env-guessed", env=env, hosts=len(hosts), origin=origin).said(
            language_of(str(options["language"]), os.environ)
        )
