# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of ansible-playbook: what the callback hears of it, whether and what is reported, and how it ends.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shlex
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible import constants as C  # noqa: N812
from ansible import context
from ansible.template import Templar

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    LABELS_MAX,
    ChangeEvent,
    plain_text,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import (
    Connection,
    InvalidConnection,
    MissingKey,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _operator_variables, _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.client import requests_is_missing
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.signals import Signals, received
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import RunLabels
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.variables import targets as target_hosts
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notice, Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.change_labels import OUTCOME_LABELS
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.changes import Change, Changes
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import (
    CurrentRun,
    JoinedChange,
    set_current_run,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.delivery import FLUSH, EventSink, RunDelivery
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.events import Events, Reason
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import language_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.base import Messages, Progress
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import (
    FailedTask,
    Outcome,
    RunResult,
    answers_a_failure,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.settings import Settings
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.subject import Subject
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.templates import PlayTexts
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.wait import asked_seconds, automatic_seconds

# Seconds that the end of an interrupted run waits for its delivery.
_WAIT_INTERRUPTED = 2.0
_KEY_VARIABLES = ("flashduty_push_url", "flashduty_integration_key")


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


class _Reporting(NamedTuple):
    """What holds from the first play on that is reported.

    :ivar events: makes the events.
    :ivar sink: takes them.
    """

    settings: Settings
    changes: Changes
    events: Events
    sink: EventSink


class Run:
    """One run, whatever number of playbooks and plays.

    :param display: ansible-core's ``Display``.
    """

    def __init__(self, display: Any) -> None:
        self._display = display
        self._notices = Notices(self._show)
        self._notices.language = language_of(os.environ.get("FLASHDUTY_LANGUAGE") or "auto", os.environ)
        self._pid = os.getpid()
        self._id = uuid.uuid4().hex
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
        self._reporting: _Reporting | None = None
        self._outcome = Outcome()
        self._signals: Signals | None = None
        self._ended_well = 0
        self._end: _End | None = None
        # What is being stored: a Ctrl-C leaves open whether it was.
        self._beginning: list[ChangeEvent] = []
        self._ending: list[ChangeEvent] = []
        self._is_told = False
        self._flush_arguments: Callable[[], str] = str
        #: Whether a task that changes something begins a change.
        self.awaits_change = False

    def _show(self, notice: Notice) -> None:
        show = self._display.warning if notice.level == "warning" else self._display.vvv
        # The advice to flush is of use with what says where to deliver to.
        text = notice.text
        if FLUSH in text:
            arguments = ""
            with contextlib.suppress(Exception):  # the warning matters more
                arguments = self._flush_arguments()
            text = text.replace(FLUSH, FLUSH + arguments)
        show(f"flashduty_change: {text}")

    @property
    def _is_followed(self) -> bool:
        """Whether somebody reads what goes well: with -v, or in the log file."""
        return bool(self._display.verbosity or C.DEFAULT_LOG_PATH)

    def _tell(self, text: str) -> None:
        text = f"flashduty_change: {self._notices.redact(text)}"
        if self._display.verbosity:
            self._display.v(text)
        else:
            self._display.display(text, log_only=True)

    def _tell_beginning(self, events: Sequence[ChangeEvent]) -> None:
        first = events[0]
        link = f", {first.link}" if first.link else ""
        more = self._said("and-more", count=len(events) - 1) if len(events) > 1 else ""
        self._tell(self._said("this-run", change=f"{first.change_key}{link}{more}"))

    def _tell_end(self, store: Store) -> None:
        try:
            taken, all_events = store.look(lambda outbox, _integration: _taken(outbox, self._id))
        except OutboxError:  # of which the sink has told
            return
        self._tell(self._said("taken", taken=taken, count=all_events))

    def _said(self, name: str, **values: Any) -> str:
        # Loaded where there is something to say.
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.notices import notice

        return notice(self._notices.language, name, **values)

    @property
    def is_open(self) -> bool:
        """Whether a change was reported that has not ended."""
        return self._reporting is not None and bool(self._reporting.changes.open)

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
        if self._signals is not None:
            survived = received(self._signals.reader)
            if survived:
                # Neither this process nor the courier takes them for the reason of an end to come.
                os.read(self._signals.reader, len(survived))

    def task_changed(self, result: Any) -> None:
        """A task changed something on a host."""
        task = result._task
        # A report is no change.
        if self._reporting is not None and _options.CALLBACK not in (
            task.action,
            getattr(task, "resolved_action", None),
        ):
            changes = self._reporting.changes.of_host(result._host.get_name())
            self._report(self._reporting, [change for change in changes if not change.reported])

    def host_failed(self, result: Any) -> None:
        """A task failed on a host, or did not reach it; whether that counts, the end tells."""
        host = result._host.get_name()
        if host in self._outcome.failures and answers_a_failure(result._task):
            return
        with_message = self._reporting is not None and self._reporting.settings.with_message
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
        self._notices.warning(self._said(meaning, where=f"in {method}, {type(error).__name__}: {error}"))

    # Plays

    def _new_play(self, play: Any, hosts: list[Any]) -> None:
        manager = play.get_variable_manager()
        variables = _operator_variables.of_play(
            play, hosts, _operator_variables.manager_without_answers(manager), self._notices
        )
        template = Templar(loader=play.get_loader(), variables=variables).template
        options = self._resolved(variables, template)
        if options is None or not options["enabled"]:
            return
        if context.CLIARGS.get("check") and not options["report_check_mode"] and not options["preview"]:
            return
        if self._reporting is None:
            if not hosts:
                return
            self._reporting = self._begin(play, options, variables, template)
            if self._reporting is None:
                return
            atexit.register(self._at_exit)
        self._add_play(self._reporting, play, hosts, options)

    def _resolved(self, variables: Mapping[str, Any], template: Callable[[Any], Any]) -> Mapping[str, Any] | None:
        """The options of a play; where they cannot be used those of the play before it, None where there is none."""
        try:
            options = _options.resolved(variables, template)
            self._notices.language = language_of(str(options["language"]), os.environ)
            self._wait = asked_seconds(options["wait"])
            self._options = options
        except InvalidConnection as error:
            if self._reporting is None:
                self._refuse(str(error))
                return None
            self._notices.warning(self._said("settings-kept", problem=error))
        return self._options

    def _begin(
        self,
        play: Any,
        options: Mapping[str, Any],
        variables: Mapping[str, Any],
        template: Callable[[Any], Any],
    ) -> _Reporting | None:
        """Begin to report; None where that cannot be."""
        try:
            connection = _options.connection_of(options)
        except InvalidConnection as error:
            self._refuse(self._said("no-key") if isinstance(error, MissingKey) else str(error))
            return None
        problem = None if options["preview"] else requests_is_missing()
        if problem is not None:
            self._refuse(problem)
            return None
        self._notices.redact = connection.redact
        self._flush_arguments = functools.partial(_flush_arguments, play, variables)
        extra_vars = play.get_variable_manager().extra_vars
        subject = Subject.of(self._path, self._plays, play, context.CLIARGS)
        settings = Settings.of(
            options, template, extra_vars, subject, self._path, play.hosts, self._started, self._notices
        )
        new_labels = functools.partial(_new_labels, settings, self._notices)
        changes = Changes(settings.scope, new_labels, settings.label_group == "named")
        sink = self._new_sink(options, settings, connection)
        if settings.only_changed:
            # Such a run may have nothing of its own to send.
            sink.deliver_what_waits()
        return _Reporting(settings, changes, Events(settings, connection, self._outcome), sink)

    def _new_sink(self, options: Mapping[str, Any], settings: Settings, connection: Connection) -> EventSink:
        if options["preview"]:
            from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.preview import Preview

            return Preview(self._display, self._notices.language)
        self._signals = Signals(signal.set_wakeup_fd)
        return RunDelivery(
            _options.state_dir(options),
            connection,
            Process.of(self._pid),
            self._id,
            self._signals,
            settings.described(settings.messages.vanished()),
            settings.described(settings.messages.interrupted()),
            "killed" if settings.with_outcome else "",
            self._notices,
        )

    def _refuse(self, problem: str) -> None:
        self._notices.warning(self._said("not-reported", problem=problem))

    def _add_play(self, reporting: _Reporting, play: Any, hosts: list[Any], options: Mapping[str, Any]) -> None:
        """A play that is reported starts: its changes are reported, or await that a task changes something."""
        settings, playbook = reporting.settings, self._playbooks[-1]
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
                play.get_variable_manager(),
                self._notices,
            ),
            self._notices,
        )
        names = (*settings.rules.variable_names, *texts.variable_names)
        targets = target_hosts(play, hosts, names, self._notices, written=settings.rules.written_names)
        self._outcome.play_starts(name, [host.name for host in hosts])
        # The first play is the run's beginning, milliseconds after it.
        began = time.time() if reporting.changes.all else self._started
        settings.rules.groups.read(targets)
        changes = reporting.changes.add_play(play.hosts, hosts, targets, texts, began)
        if settings.scope == "run":
            self._expect(settings, changes[0], play, playbook, reporting.changes.only_named)
        if settings.with_progress:
            playbooks = max(len(context.CLIARGS.get("args") or ()), len(self._playbooks))
            self._progress = Progress(self._play_number, len(self._plays), len(self._playbooks), playbooks, name)
        again = [change for change in changes if change.reported and settings.with_progress]
        begin = [change for change in changes if not change.reported and not settings.only_changed]
        self._report(reporting, [*again, *begin])

    def _expect(self, settings: Settings, change: Change, play: Any, playbook: str, only_named: bool) -> None:
        """Add the hosts of the plays to come: the first event shows where the run will go."""
        if not change.reported:
            for argument in context.CLIARGS.get("args") or ():
                # One that a collection brings has another name here than when it runs.
                if argument.endswith((".yml", ".yaml")):
                    change.expected.add_playbook(os.path.basename(argument))
        later = self._plays[self._play_number :]
        if not later:
            return
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.host_patterns import names_group
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.later_plays import new_hosts

        names, written = settings.rules.variable_names, settings.rules.written_names
        known = {**change.hosts, **change.coming}
        for coming, patterns, hosts in new_hosts(later, known, play.get_loader(), self._notices):
            targets = target_hosts(coming, hosts, names, self._notices, written=written)
            change.expect(targets, playbook, names_group(patterns) if only_named else None)

    # Events

    def _report(self, reporting: _Reporting, changes: Sequence[Change]) -> None:
        """Report changes that begin or go on."""
        if changes:
            new = [change for change in changes if not change.reported]
            self._beginning = [reporting.events.started(change, self._progress) for change in changes]
            # Before they are stored, so that there is no moment at which nobody would close them.
            _mark(new, True)
            try:
                reporting.sink.put(self._beginning)
            except OutboxError:
                _mark(new, False)
                self._beginning = []
                raise
            if new and not self._is_told and reporting.sink.store is not None and self._is_followed:
                self._tell_beginning(self._beginning)
                self._is_told = True
            self._beginning = []
            for origin in sorted({change.expected.env_origin() for change in new} - {""}):
                reporting.sink.remark(f"env was guessed from {origin}")
        all_reported = len(reporting.changes.open) == len(reporting.changes.all)
        self.awaits_change = reporting.settings.only_changed and not all_reported
        store = reporting.sink.store if self.is_open else None
        set_current_run(CurrentRun(self._id, store, functools.partial(_joined_by, reporting)))

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
            self._notices.warning(self._said("end-left", problem=error))

    def _finish(self, end: _End) -> None:
        """End a run that has come to its statistics."""
        broken_output = end.broken_output or _broken_output()
        if self._interrupts() > end.interrupts:
            self._cancel(self._reason, _WAIT_INTERRUPTED)
        elif broken_output and not end.result.failed:
            # Of this, ansible-playbook makes the exit code 120, and has skipped each task that it could not print.
            self._cancel(lambda messages: Reason("stopped", messages.output_broke(broken_output)))
        else:
            self._close(lambda events, change: events.ended(change, end.result, end.at))

    def _cancel(self, reason: Callable[[Messages], Reason], wait: float | None = None) -> None:
        if self._reporting is not None:
            known = reason(self._reporting.settings.messages)
            self._close(lambda events, change: events.canceled(change, known), wait)

    def _close(self, last_event: Callable[[Events, Change], ChangeEvent], wait: float | None = None) -> None:
        """Store the last event of each change, and wait for the delivery at most so many seconds."""
        reporting = self._reporting
        if reporting is None or not self.is_open:
            return
        set_current_run(None)
        self.awaits_change = False
        # Should this be interrupted, it is these events that are stored, and only once.
        self._ending = self._ending or [last_event(reporting.events, change) for change in reporting.changes.open]
        keys = {event.change_key for event in self._ending}
        reporting.sink.close([*(event for event in self._beginning if event.change_key in keys), *self._ending])
        self._beginning = []
        _mark(reporting.changes.all, False)
        at_most = self._wait
        if at_most is None:
            at_most = automatic_seconds(reporting.settings.where.system, os.environ)
        reporting.sink.wait(at_most if wait is None else min(wait, at_most))
        if reporting.sink.store is not None and self._is_followed:
            self._tell_end(reporting.sink.store)

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


def _joined_by(reporting: _Reporting, host: str) -> JoinedChange | None:
    """What a task of a host without a ``change_key`` reports to; None where none of its changes is open."""
    change = next((change for change in reporting.changes.of_host(host) if change.reported), None)
    if change is None:
        return None
    event = reporting.events.joined(change)
    return JoinedChange(event.change_key, event.title, event.link, event.labels)


def _flush_arguments(play: Any, variables: Mapping[str, Any]) -> str:
    """What a flush needs on its command line to find the key; empty where the key is in no variable."""
    names = [name for name in _KEY_VARIABLES if name in variables]
    if not names:
        return ""
    arguments = context.CLIARGS
    words = [word for source in arguments.get("inventory") or () for word in ("-i", source)]
    # Those that are files alone: one that was written out is a secret.
    files = [each for each in arguments.get("extra_vars") or () if str(each).startswith("@")]
    words += [word for each in files for word in ("-e", each)]
    for option, name in (("--vault-id", "vault_ids"), ("--vault-password-file", "vault_password_files")):
        words += [word for value in arguments.get(name) or () for word in (option, value)]
    words += ["--ask-vault-pass"] if arguments.get("ask_vault_pass") else []
    needed = "".join(f" {shlex.quote(str(word))}" for word in words)
    manager = _operator_variables.manager_without_answers(play.get_variable_manager())
    in_extra = any(name in manager.extra_vars for name in names)
    if (in_extra and files) or (not in_extra and _operator_variables.are_in_inventory(manager, names)):
        return needed
    return " -e flashduty_push_url=PUSH_URL"


def _taken(outbox: Outbox, run: str) -> tuple[int, int]:
    """How many events of a run were delivered, and how many there are."""
    states = outbox.events.states_of(run)
    return states.count("delivered"), len(states)


def _mark(changes: Iterable[Change], reported: bool) -> None:
    for change in changes:
        change.reported = reported


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
