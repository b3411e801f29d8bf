# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of one run: what the callback hears, whether it is reported, and how it ends.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import atexit
import functools
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible import context
from ansible.template import Templar

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection, InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _operator_variables, _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.client import requests_is_missing
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.signals import Signals, received
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.changes import RunChanges, Settings
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.delivery import Road, RunOutbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.base import Progress, Texts
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import Ends

# Seconds that the end of an interrupted run waits for its delivery.
_WAIT_INTERRUPTED = 2.0


class RunReport:
    """One run of ansible-playbook, whatever number of playbooks and plays.

    :param warn: shows a warning to the user.
    :param tell: shows a detail to whoever asks for it.
    :param show: shows a text to the user.
    """

    def __init__(
        self, warn: Callable[[str], object], tell: Callable[[str], object], show: Callable[[str], object]
    ) -> None:
        self._warner = warn
        self._teller = tell
        self._show = show
        self._pid = os.getpid()
        self._run = uuid.uuid4().hex
        self._started = time.time()
        self._path = ""
        self._playbooks: list[str] = []
        self._plays: Sequence[Any] = ()
        self._play_number = 0
        self._play_id: str | None = None
        self._refused_options: set[str] = set()
        self._wait = 10.0
        self._ended_well = 0
        self._ends: Ends | None = None
        self._ended_at = 0.0
        self._interrupts = 0
        self._broken_output = ""
        self._options: Mapping[str, Any] = {}
        self._signals: Signals | None = None
        self._connection: Connection | None = None
        self._changes: RunChanges | None = None
        self._notices = Notices()

    def _warn(self, text: str) -> None:
        self._warner(f"flashduty_change: {text}")

    def _tell(self, text: str) -> None:
        self._teller(f"flashduty_change: {text}")

    def redact(self, text: str) -> str:
        """The text without the integration key."""
        return self._connection.redact(text) if self._connection is not None else text

    def playbook_starts(self, path: str, plays: Sequence[Any]) -> None:
        """A playbook of the command line, with these plays, starts."""
        self._path = path
        self._playbooks.append(os.path.basename(path))
        self._plays = plays
        self._play_number = 0

    def play_starts(self, play: Any, set_wakeup_fd: Callable[..., int]) -> None:
        """A play, or a batch of one, starts."""
        manager = play.get_variable_manager()
        if play._uuid != self._play_id:
            self._play_id = play._uuid
            self._play_number += 1
            self._new_play(play, manager, set_wakeup_fd)
        if self._changes is not None:
            self._changes.batch_starts(host.name for host in manager._inventory.get_hosts(play.hosts))

    @property
    def awaits_change(self) -> bool:
        """Whether a task that changes something begins a change."""
        return self._changes is not None and self._changes.await_change

    def task_changed(self, result: Any) -> None:
        """A task changed something on a host."""
        if self._changes is not None:
            self._changes.task_changed(result)
            self._show_notices()

    def host_failed(self, result: Any) -> None:
        """A task failed on a host, or did not reach it; whether that counts, the end tells."""
        if self._changes is not None:
            self._changes.host_failed(result)

    def lost_track(self) -> None:
        """Something of what happened was not heard."""
        if self._changes is not None:
            self._changes.lost_track()

    @property
    def is_open(self) -> bool:
        """Whether a change was reported that has not ended."""
        return self._changes is not None and bool(self._changes.open)

    def playbook_ends(self, stats: Any) -> None:
        """A playbook of the command line has come to its statistics."""
        if self._changes is None:
            # After one that fails, ansible-playbook starts no other.
            self._ended_well += 1
            return
        ends = self._changes.ends(stats)
        if not ends.failed:
            self._ended_well += 1
            if self._ended_well < len(context.CLIARGS.get("args") or ()):
                return
        self._ends, self._ended_at = ends, time.time()
        self._interrupts = self._interrupts_so_far()
        self._broken_output = _broken_output()
        if not context.CLIARGS.get("args"):
            # Not the command but another program runs the playbook, and may go on for long.
            self._finish()

    # The start

    def _new_play(self, play: Any, manager: Any, set_wakeup_fd: Callable[..., int]) -> None:
        hosts = manager._inventory.get_hosts(play.hosts, ignore_restrictions=True)
        variables = _operator_variables.of_play(
            play, hosts, _operator_variables.manager_without_answers(manager), self._notices
        )
        template = Templar(loader=play.get_loader(), variables=variables).template
        options = self._resolved(variables, template)
        if options is None:
            return
        unwanted_check = context.CLIARGS.get("check") and not options["report_check_mode"] and not options["preview"]
        if not options["enabled"] or unwanted_check:
            return
        if self._changes is None:
            self._changes = self._begun(options, template, manager.extra_vars, play.hosts, set_wakeup_fd)
            if self._changes is None:
                return
            atexit.register(self._at_exit)
        # Values of single hosts come on top, so those of the first must not be below.
        hosts_of_texts = hosts if self._changes.scope == "run" else ()
        variables_of_texts = functools.partial(
            _operator_variables.of_play, play, hosts_of_texts, manager, self._notices
        )
        playbooks = max(len(context.CLIARGS.get("args") or ()), len(self._playbooks))
        progress = Progress(self._play_number, len(self._plays), len(self._playbooks), playbooks, "")
        later = self._plays[self._play_number :]
        self._changes.play_starts(play, self._playbooks[-1], hosts, options, variables_of_texts, progress, later)
        self._show_notices()

    def _resolved(self, variables: Mapping[str, Any], template: Callable[[Any], Any]) -> Mapping[str, Any] | None:
        """The options of a play; where they cannot be used those of the play before it, None where there is none."""
        try:
            self._options = _options.resolved(variables, template)
        except InvalidConnection as error:
            if self._changes is None:
                self._refuse(str(error))
                return None
            self._notices.warning(f"a play goes on with the settings of the one before it: {error}")
        return self._options

    def _begun(
        self,
        options: Mapping[str, Any],
        template: Callable[[Any], Any],
        extra_vars: Mapping[str, Any],
        pattern: Sequence[str],
        set_wakeup_fd: Callable[..., int],
    ) -> RunChanges | None:
        problem = None if options["preview"] else requests_is_missing()
        connection = None
        try:
            connection = self._connection = _options.connection_of(options)
        except InvalidConnection as error:
            problem = str(error)
        if problem is not None or connection is None:
            self._refuse(str(problem))
            return None
        self._wait = float(options["wait"])
        signals = self._signals = Signals(set_wakeup_fd)
        settings = Settings.of(options, template, extra_vars, self._path, pattern, self._started, self._notices)

        def road() -> Road:
            if options["preview"]:
                from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.preview import Preview

                return Preview(self._show)
            return RunOutbox(
                _options.state_dir(options),
                connection,
                Process.of(self._pid),
                self._run,
                signals,
                settings.described(settings.words.vanished()),
                settings.described(settings.words.interrupted()),
                self._warn,
                self._tell,
            )

        changes = RunChanges(settings, self._run, self._started, connection, road, self._notices)
        if settings.only_changed:
            # Such a run may have nothing of its own to send.
            changes.road.deliver_what_waits()
        return changes

    def _refuse(self, problem: str) -> None:
        if problem not in self._refused_options:
            self._refused_options.add(problem)
            self._warn(f"this run is not reported to Flashduty: {problem}")

    def _show_notices(self) -> None:
        for notice in self._notices.take():
            (self._warn if notice.level == "warning" else self._tell)(self.redact(notice.text))

    # The end: at the exit of ansible-playbook, for until then its exit code can still become another one

    def _at_exit(self) -> None:
        try:
            if os.getpid() != self._pid or self._changes is None or not self._changes.open:
                return
            if self._ends is not None:
                self._finish()
            else:
                self._changes.cancel(self._reason(), min(self._wait, _WAIT_INTERRUPTED))
        except KeyboardInterrupt:
            # Whoever presses Ctrl-C again does not want to wait.
            pass
        except Exception as error:  # the courier, or the next run, closes it then
            self._warn(f"the end of this run is left to the courier: {self.redact(str(error))}")

    def _finish(self) -> None:
        """End a run that has come to its statistics."""
        if self._changes is None or self._ends is None:
            return
        broken_output = self._broken_output or _broken_output()
        if self._interrupts_so_far() > self._interrupts:
            self._changes.cancel(lambda words, seconds: words.interrupted(seconds), min(self._wait, _WAIT_INTERRUPTED))
        elif broken_output and not self._ends.failed:
            # Of this, ansible-playbook makes the exit code 120, and has skipped each task that it could not print.
            self._changes.cancel(lambda words, _seconds: words.output_broke(broken_output), self._wait)
        else:
            self._changes.close(self._ends, self._ended_at, self._wait)
        self._show_notices()

    def _interrupts_so_far(self) -> int:
        return 0 if self._signals is None else received(self._signals.reader).count(signal.SIGINT)

    def _reason(self) -> Callable[[Texts, float], str]:
        if self._interrupts_so_far():
            return lambda words, seconds: words.interrupted(seconds)
        if self._ended_well:
            return lambda words, seconds: words.stopped_between(self._ended_well)
        return lambda words, seconds: words.stopped_early(seconds)


def _broken_output() -> str:
    """Why the standard output or error can no longer be written; empty where they can."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is None:
                return "it is closed"
            stream.flush()
        except (OSError, ValueError) as error:
            return getattr(error, "strerror", None) or str(error)
    return ""
