# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: flashduty_change
type: notification
short_description: Report each playbook run to Flashduty as a change
version_added: 1.0.0
author: the flashcat.flashduty contributors
description:
  - Reports Processing when a playbook starts, and Done or Canceled when it ends, so that whoever is on call sees beside
    an incident what Ansible was changing.
  - The end is the truth of the exit code. A run that is interrupted or killed is reported as Canceled.
  - A process of its own, the courier, talks to Flashduty. A slow or dead API costs the tasks nothing; what could not be
    delivered waits in the outbox for the next run or for the playbook P(flashcat.flashduty.flush#playbook).
  - Nothing is reported with C(--check).
requirements:
  - requests on the control node
  - enable it in ansible.cfg with C(callbacks_enabled = flashcat.flashduty.flashduty_change)
extends_documentation_fragment:
  - flashcat.flashduty.connection.plugin
options:
  enabled:
    description: Whether to report. Set the variable on a play that must not be reported.
    type: bool
    default: true
    env:
      - name: FLASHDUTY_ENABLED
    ini:
      - section: callback_flashduty_change
        key: enabled
    vars:
      - name: flashduty_enabled
  change_key:
    description:
      - The key of the change, usually the ticket's number.
      - The default is made from the CI job, so that its retries are one change, and unique where there is no job.
    type: str
    env:
      - name: FLASHDUTY_CHANGE_KEY
    ini:
      - section: callback_flashduty_change
        key: change_key
    vars:
      - name: flashduty_change_key
  title:
    description:
      - The title of the change, a template over the play's variables. The default is the play's name and the playbook.
    type: str
    env:
      - name: FLASHDUTY_TITLE
    ini:
      - section: callback_flashduty_change
        key: title
    vars:
      - name: flashduty_title
  description:
    description: What stands in front of our own text in the description, a template over the play's variables.
    type: str
    env:
      - name: FLASHDUTY_DESCRIPTION
    ini:
      - section: callback_flashduty_change
        key: description
    vars:
      - name: flashduty_description
  link:
    description: Address of the ticket, a template over the play's variables. The default is the CI job's address.
    type: str
    env:
      - name: FLASHDUTY_LINK
    ini:
      - section: callback_flashduty_change
        key: link
    vars:
      - name: flashduty_link
  labels:
    description: Labels above all others, a map. Labels of hosts and groups come from the variable C(flashduty_labels).
    type: dict
    default: {}
    env:
      - name: FLASHDUTY_LABELS
    ini:
      - section: callback_flashduty_change
        key: labels
  label_vars:
    description:
      - Inventory variables that become labels, each alone (V(service)) or with the label's name
        (V(cluster=k8s_cluster)).
    type: list
    elements: str
    default: [service, cluster, team, owner, env, region, ident, instance, job]
    env:
      - name: FLASHDUTY_LABEL_VARS
    ini:
      - section: callback_flashduty_change
        key: label_vars
    vars:
      - name: flashduty_label_vars
  wait:
    description: How many seconds the end of the playbook waits for the delivery at most.
    type: float
    default: 10
    env:
      - name: FLASHDUTY_WAIT
    ini:
      - section: callback_flashduty_change
        key: wait
    vars:
      - name: flashduty_wait
"""

import functools
import signal
from collections.abc import Callable
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase

try:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run_report import RunReport
except Exception as error:  # an error here would end the run
    RunReport = None  # type: ignore[assignment,misc]
    _IMPORT_ERROR: Exception | None = error
else:
    _IMPORT_ERROR = None


def _harmless(method: Callable[..., None]) -> Callable[..., None]:
    """A report that fails must not fail the run: one warning, and silence from then on."""

    @functools.wraps(method)
    def guarded(self: CallbackModule, *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            self.give_up(f"{type(error).__name__} in {method.__name__}", error)

    return guarded


class CallbackModule(CallbackBase):
    """Tells the run report what happens."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "flashcat.flashduty.flashduty_change"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._report: RunReport | None = None
        if _IMPORT_ERROR is not None:
            self.give_up("it could not be loaded", _IMPORT_ERROR)

    def give_up(self, what: str, error: Exception) -> None:
        """Report nothing more."""
        self.disabled = True
        text = self._report.redact(str(error)) if self._report is not None else str(error)
        self._display.warning(f"flashduty_change: this run is not reported any further: {what}: {text}")

    @_harmless
    def v2_playbook_on_start(self, playbook: Any) -> None:
        if context.CLIARGS.get("check") or playbook._file_name == "__adhoc_playbook__":
            self.disabled = True
            return
        if self._report is None:
            self._report = RunReport(self._display.warning, self._display.vvv)
        self._report.playbook_starts(str(playbook._file_name))

    @_harmless
    def v2_playbook_on_play_start(self, play: Any) -> None:
        if self._report is not None:
            # A signal's number goes through a pipe: a handler of ours would change what Ctrl-C does.
            self._report.play_starts(play, signal.set_wakeup_fd)

    @_harmless
    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if self._report is not None and not ignore_errors:
            self._report.host_failed(result._host.get_name(), result._task)

    @_harmless
    def v2_runner_on_unreachable(self, result: Any) -> None:
        if self._report is not None:
            self._report.host_failed(result._host.get_name(), result._task)

    @_harmless
    def v2_playbook_on_stats(self, stats: Any) -> None:
        if self._report is not None:
            self._report.playbook_ends(stats)
