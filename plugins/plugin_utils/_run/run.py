# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of ansible-playbook: what the callback hears of it, whether and what is reported, and how it ends."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible import constants as C  # noqa: N812
from ansible import context

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    LABELS_MAX,
    ChangeEvent,
    plain_text,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import (
    Connection,
    InvalidConnection,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _operator_variables, _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.client import (
    reap_orphans,
    requests_is_missing,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.signals import Signals, received
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.files import ReadOnce
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import RunLabels, TargetHost
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.variables import targets as target_hosts
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import FLUSH, Notice, Notices, language_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.change_labels import OUTCOME_LABELS
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import NO_SQLITE, OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.changes import Change, Changes
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import set_current_runs
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.delivery import EventSink, RunDelivery
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.events import Events, Reason
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.integrations import (
    Integrations,
    operators_view,
    refuse,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import Messages, Progress
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import (
    FailedTask,
    Outcome,
    RunResult,
    answers_a_failure,
    part_of,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.reporting import Reporting
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.settings import Settings
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.subject import Subject
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.templates import PlayTexts
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.wait import asked_seconds, automatic_seconds

# Seconds that the end of an interrupted run waits for its delivery.
_WAIT_INTERRUPTED = 2.0


class _End(NamedTuple):
    """What was known when the last playbook came to its statistics.

    :ivar at: Unix seconds.
    :ivar interrupts: how many SIGINTs there had been.
    :ivar broken_output: why the output could no longer be written; empty where it could.
    """

    result: RunResult
    at: float
    interrupts: int
    broken_output: str


class Run:
    """One run, whatever number of playbooks and plays.

    :param display: ansible-core's ``Display``.
    """

    def __init__(self, display: Any) -> None:
        self._display = display
        self._notices = Notices(self._show)
        self._integrations = Integrations(self._notices)
        self._notices.redact = self._integrations.redact
        self._pid = os.getpid()
        self._started = time.time()
        self._started_monotonic = time.monotonic()
        self._path = ""
        self._playbooks: list[str] = []
        self._plays: Sequence[Any] = ()
        self._play_number = 0
        self._play_id: str | None = None
        self._progress: Progress | None = None
        self._options: Mapping[str, Any] = {}
        self._wait: float | None = None
        self._settings: Settings | None = None
        self._outcome = Outcome()
        self._signals: Signals | None = None
        self._ended_well = 0
        self._end: _End | None = None
        self._told: set[Reporting] = set()
        #: Whether a task that changes something begins a change.
        self.awaits_change = False

    def _show(self, notice: Notice) -> None:
        show = self._display.warning if notice.level == "warning" else self._display.vvv
        # The advice to flush is of use with what says where to deliver to.
        text = notice.text
        if FLUSH in text:
            with contextlib.suppress(Exception):  # the warning matters more
                text = text.replace(FLUSH, FLUSH + self._integrations.flush_arguments())
        show(f"flashduty_change: {text}")

    @property
    def _is_followed(self) -> bool:
        """Whether somebody reads what goes well: with -v, or in the log file."""
        return bool(self._display.verbosity or C.DEFAULT_LOG_PATH)

    def _tell(self, text: str) -> None:
        text = f"flashduty_change: {self._integrations.redact(text)}"
        if self._display.verbosity:
            self._display.v(text)
        else:
            self._display.display(text, log_only=True)

    def _tell_beginning(self, events: Sequence[ChangeEvent], integration: str) -> None:
        first = events[0]
        link = f", {first.link}" if first.link else ""
        more = self._notices.said("and-more", count=len(events) - 1) if len(events) > 1 else ""
        name = "this-run"
        if integration:
            from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.integrations import name_of

            name, integration = "part-of-this-run", name_of(integration)
        self._tell(self._notices.said(name, change=f"{first.change_key}{link}{more}", integration=integration))

    def _tell_end(self, reportings: Iterable[Reporting]) -> None:
        try:
            counts = [reporting.taken() for reporting in reportings]
        except OutboxError:  # of which the sink has told
            return
        taken, events = (sum(count[place] for count in counts) for place in (0, 1))
        if events:
            self._tell(self._notices.said("taken", taken=taken, count=events))

    @property
    def is_open(self) -> bool:
        """Whether a change was reported that has not ended."""
        return any(reporting.is_open for reporting in self._integrations)

    # What the callback hears

    def playbook_starts(self, path: str, plays: Sequence[Any]) -> None:
        """A playbook of the command line, with these plays, starts."""
        self._path = path
        self._playbooks.append(os.path.basename(path))
        self._plays = plays
        self._play_number = 0

    def play_starts(self, play: Any) -> None:
        """A play, or a batch of one, starts."""
        inventory = play.get_variable_manager()._inventory
        if play._uuid != self._play_id:
            self._play_id = play._uuid
            self._play_number += 1
            self._new_play(play, inventory.get_hosts(play.hosts, ignore_restrictions=True))
        self._outcome.batch_starts(host.name for host in inventory.get_hosts(play.hosts))

    def task_starts(self) -> None:
        """A task starts: no signal so far has ended the run."""
        if self._pid == 1:
            reap_orphans()
        if self._signals is not None:
            self._signals.forget()

    def task_changed(self, result: Any) -> None:
        """A task changed something on a host."""
        task = part_of(result, "task")
        # A report is no change.
        if _options.CALLBACK in (task.action, getattr(task, "resolved_action", None)):
            return
        for reporting in self._integrations:
            changes = reporting.changes.of_host(part_of(result, "host").get_name())
            self._report(reporting, [change for change in changes if not change.reported])

    def host_failed(self, result: Any) -> None:
        """A task failed on a host, or did not reach it; whether that counts, the end tells."""
        host = part_of(result, "host").get_name()
        if host in self._outcome.failures and answers_a_failure(part_of(result, "task")):
            return
        with_message = self._settings is not None and self._settings.with_message
        self._outcome.failures[host] = FailedTask.of(result, with_message)

    def playbook_ends(self, stats: Any) -> None:
        """A playbook of the command line has come to its statistics."""
        result = self._outcome.result(stats)
        self._ended_well += not result.failed
        if not result.failed and self._ended_well < len(context.CLIARGS.get("args") or ()):
            # After one that fails, ansible-playbook starts no other.
            return
        self._end = _End(result, time.time(), self._interrupts(), _broken_output())
        if not context.CLIARGS.get("args"):
            # Not the command but another program runs the playbook, and may go on for long.
            self._finish(self._end)

    def failed(self, method: str, error: Exception) -> None:
        """Something was not heard, or not reported, because of an error of ours."""
        # The statistics decide whether a host was reached.
        self._outcome.pending_hosts.clear()
        meaning = "something-missing" if self.is_open else "nothing-yet"
        self._notices.warning(meaning, where=f"in {method}, {type(error).__name__}: {error}")

    # Plays

    def _new_play(self, play: Any, hosts: list[Any]) -> None:
        variables, template = operators_view(play, hosts, self._notices)
        options = self._resolved(variables, template)
        if options is None or not options["enabled"]:
            return
        if context.CLIARGS.get("check") and not options["report_check_mode"] and not options["preview"]:
            return
        if not self._integrations:
            if not hosts:
                return
            problem = None if options["preview"] else requests_is_missing() or NO_SQLITE
            if problem:
                refuse(self._notices, problem)
                return
            extra_vars = play.get_variable_manager().extra_vars
            subject = Subject.of(self._path, self._plays, play, context.CLIARGS)
            self._settings = Settings.of(
                options, template, extra_vars, subject, self._path, play.hosts, self._started, self._notices
            )
        if self._settings is not None:
            self._add_play(self._settings, play, hosts, options)

    def _resolved(self, variables: Mapping[str, Any], template: Callable[[Any], Any]) -> Mapping[str, Any] | None:
        """The options of a play; where they cannot be used those of the play before it, None where there is none."""
        try:
            options = _options.resolved(variables, template)
            self._notices.language = language_of(str(options["language"]), os.environ)
            self._wait = asked_seconds(options["wait"])
            self._options = options
        except InvalidConnection as error:
            if not self._integrations:
                refuse(self._notices, str(error))
                return None
            self._notices.warning("settings-kept", problem=error)
        return self._options

    def _begin(self, settings: Settings, options: Mapping[str, Any], connection: Connection) -> Reporting:
        """Report to an integration from now on."""
        run = uuid.uuid4().hex
        new_labels = functools.partial(_new_labels, settings, self._notices)
        changes = Changes(settings.scope, new_labels, settings.label_group == "named")
        sink = self._new_sink(options, settings, connection, run)
        events = Events(settings, self._integrations.redact, self._outcome)
        if not self._integrations:
            atexit.register(self._at_exit)
        return Reporting(run, connection, changes, events, sink, settings.only_changed)

    def _new_sink(self, options: Mapping[str, Any], settings: Settings, connection: Connection, run: str) -> EventSink:
        if options["preview"]:
            from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.preview import Preview

            return Preview(self._display, self._notices)
        self._signals = self._signals or Signals(signal.set_wakeup_fd)
        return RunDelivery(
            _options.state_dir(options),
            connection,
            Process.of(self._pid),
            run,
            self._signals,
            settings.described(settings.messages.said("vanished")),
            settings.described(settings.messages.said("interrupted")),
            "killed" if settings.with_outcome else "",
            self._notices,
            self._integrations.known_to_outbox,
        )

    def _add_play(self, settings: Settings, play: Any, hosts: list[Any], options: Mapping[str, Any]) -> None:
        """A play that is reported starts: its changes are reported, or await that a task changes something."""
        playbook = self._playbooks[-1]
        name = play.get_name() or ""
        name = plain_text("" if name == ",".join(play.hosts) else name)
        texts = PlayTexts(
            name,
            playbook,
            play.get_loader(),
            options,
            # Values of single hosts come on top, so those of the first must not be below.
            functools.partial(
                _operator_variables.of_play,
                play,
                hosts if settings.scope == "run" else (),
                ReadOnce(play.get_variable_manager(), self._notices),
                self._notices,
            ),
            self._notices,
        )
        targets = self._targets(settings, play, hosts, texts.variable_names)
        is_first = not any(reporting.changes.all for reporting in self._integrations)
        begins = functools.partial(self._begin, settings)
        parts = self._integrations.members(play, hosts, targets, options, begins)
        if not self._integrations:
            return
        self._outcome.play_starts(name, [host.name for host in hosts])
        # The first play is the run's beginning, milliseconds after it.
        began = self._started if is_first else time.time()
        settings.rules.groups.read(targets)
        if settings.with_progress:
            playbooks = max(len(context.CLIARGS.get("args") or ()), len(self._playbooks))
            self._progress = Progress(self._play_number, len(self._plays), len(self._playbooks), playbooks, name)
        found = {
            reporting: reporting.changes.add_play(play.hosts, *members, texts, began)
            for reporting, members in parts.items()
        }
        if settings.scope == "run":
            self._expect(settings, play, playbook, {reporting: changes[0] for reporting, changes in found.items()})
        for reporting, changes in found.items():
            again = [change for change in changes if change.reported and settings.with_progress]
            begin = [change for change in changes if not change.reported and not settings.only_changed]
            self._report(reporting, [*again, *begin])

    def _targets(
        self, settings: Settings, play: Any, hosts: Sequence[Any], names: Iterable[str] = ()
    ) -> list[TargetHost]:
        rules = settings.rules
        return target_hosts(
            play,
            hosts,
            (*rules.variable_names, *names),
            self._notices,
            written=rules.written_names,
            compared=_options.INTEGRATION_VARIABLES,
        )

    def _expect(self, settings: Settings, play: Any, playbook: str, changes: Mapping[Reporting, Change]) -> None:
        """Add the hosts of the plays to come: the first event shows where the run will go."""
        for change in changes.values():
            for argument in context.CLIARGS.get("args") or () if not change.reported else ():
                # One that a collection brings has another name here than when it runs.
                if argument.endswith((".yml", ".yaml")):
                    change.expected.add_playbook(os.path.basename(argument))
        later = self._plays[self._play_number :]
        # Once the first event has shown them, only labels that may grow look there again.
        changes = {key: each for key, each in changes.items() if not (each.reported and settings.keeps_labels)}
        if not later or not changes:
            return
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.host_patterns import names_group
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.later_plays import new_hosts

        known = {name for change in changes.values() for name in (*change.hosts, *change.coming)}
        for coming, patterns, hosts in new_hosts(later, known, play.get_loader(), self._notices):
            targets = self._targets(settings, coming, hosts)
            for reporting, (_hosts, members) in self._integrations.members(coming, hosts, targets).items():
                if reporting in changes:
                    only_named = names_group(patterns) if reporting.changes.only_named else None
                    changes[reporting].expect(members, playbook, only_named)

    # Events

    def _report(self, reporting: Reporting, changes: Sequence[Change]) -> None:
        """Report changes that begin or go on."""
        if changes:
            events = reporting.report(changes, self._progress)
            if reporting not in self._told and reporting.sink.store is not None and self._is_followed:
                self._tell_beginning(events, reporting.sink.store.integration if self._integrations.are_parted else "")
            self._told.add(reporting)
        self.awaits_change = any(each.awaits_change for each in self._integrations)
        set_current_runs(each.as_current for each in self._integrations)

    # The end: at the exit of ansible-playbook, for until then its exit code can still become another one

    def _at_exit(self) -> None:
        try:
            if os.getpid() != self._pid or not self.is_open:
                return
            if self._end is not None:
                self._finish(self._end)
            else:
                self._cancel(self._reason, _WAIT_INTERRUPTED)
        except KeyboardInterrupt:
            # A second Ctrl-C ends the wait.
            pass
        except Exception as error:  # the courier, or the next run, closes it then
            self._notices.warning("end-left", problem=error)

    def _finish(self, end: _End) -> None:
        """End a run that has come to its statistics."""
        broken_output = end.broken_output or _broken_output()
        if self._interrupts() > end.interrupts:
            self._cancel(self._reason, _WAIT_INTERRUPTED)
        elif broken_output and not end.result.failed:
            # Of this, ansible-playbook makes the exit code 120, and has skipped each task that it could not print.
            self._cancel(lambda messages: Reason("stopped", messages.said("output-broke", reason=broken_output)))
        else:
            self._close(
                lambda events, change: events.ended(change, end.result, end.at, not self._integrations.are_parted)
            )

    def _cancel(self, reason: Callable[[Messages], Reason], wait: float | None = None) -> None:
        if self._settings is not None:
            known = reason(self._settings.messages)
            self._close(lambda events, change: events.canceled(change, known), wait)

    def _close(self, last_event: Callable[[Events, Change], ChangeEvent], wait: float | None = None) -> None:
        """Store the last event of each change, and wait for the delivery at most so many seconds."""
        settings, reportings = self._settings, [each for each in self._integrations if each.is_open]
        if settings is None or not reportings:
            return
        set_current_runs(())
        self.awaits_change = False
        problem: OutboxError | None = None
        for reporting in reportings:
            try:
                reporting.close(last_event)
            except OutboxError as error:  # the others shall be closed all the same
                problem = problem or error
        at_most = self._wait
        if at_most is None:
            at_most = automatic_seconds(settings.where.system, os.environ)
        left = at_most if wait is None else min(wait, at_most)
        for reporting in reportings:
            began = time.monotonic()
            reporting.sink.wait(left)
            left = max(0.0, left - (time.monotonic() - began))
        if problem is not None:
            raise problem
        if self._is_followed:
            self._tell_end(reportings)

    def _interrupts(self) -> int:
        return 0 if self._signals is None else received(self._signals.reader).count(signal.SIGINT)

    def _reason(self, messages: Messages) -> Reason:
        """Why the run did not come to its end."""
        seconds = time.monotonic() - self._started_monotonic
        if self._interrupts():
            return Reason("interrupted", messages.interrupted(seconds))
        if self._ended_well:
            return Reason("stopped", messages.stopped_between(self._ended_well))
        return Reason("stopped", messages.stopped_early(seconds))


def _new_labels(settings: Settings, notices: Notices, target: str) -> RunLabels:
    exact = {"group": target} if settings.scope == "group" else {}
    most = LABELS_MAX - len(OUTCOME_LABELS) if settings.with_outcome else LABELS_MAX
    return RunLabels(settings.rules, {**settings.built_in, **exact}, notices, most, settings.label_names_max)


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
