# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of ansible-playbook: what the callback hears of it, and what is reported of it; its end is :mod:`.ending`."""

from __future__ import annotations

import atexit
import functools
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible import constants as C  # noqa: N812
from ansible import context

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent, plain_text
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import (
    Connection,
    InvalidConnection,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.client import (
    reap_orphans,
    requests_is_missing,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.signals import Signals
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import TargetHost
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.variables import targets as target_hosts
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notice, Notices, language_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import NO_SQLITE
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.changes import TEXTS, Change, Changes
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import set_current_runs
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.delivery import RunDelivery
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.events import Events
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.integrations import (
    Integrations,
    operators_view,
    refuse,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import Progress
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import Outcome, part_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.reporting import Reporting
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.settings import Settings, asked_seconds
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.subject import Subject

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.ending import End
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.preview import Preview
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.templates import PlayTexts


class Run:
    """One run, whatever number of playbooks and plays.

    :ivar notices: warns the user.
    :ivar integrations: what is reported to each.
    :ivar outcome: what becomes of its hosts.
    :ivar settings: what was decided with its first play that is reported; None before that.
    :ivar signals: those that reached this process; None while nothing is sent.
    :ivar wait: seconds that its end may wait for the delivery; None where the end decides.
    :ivar started_monotonic: when it started, by a clock that nobody sets.
    :ivar ended_well: how many playbooks have come to their end without a failure.
    :ivar end: what was known when the last playbook came to its statistics; None before that.
    :ivar awaits_change: whether a task that changes something begins a change.
    :param display: ansible-core's ``Display``.
    """

    def __init__(self, display: Any) -> None:
        self._display = display
        self.notices = Notices(self._show)
        self.integrations = Integrations(self.notices)
        self.notices.redact = self.integrations.redact
        self.outcome = Outcome()
        self.settings: Settings | None = None
        self.signals: Signals | None = None
        self.wait: float | None = None
        self.started_monotonic = time.monotonic()
        self.ended_well = 0
        self.end: End | None = None
        self.awaits_change = False
        self._pid = os.getpid()
        self._started = time.time()
        self._path = ""
        self._playbooks: list[str] = []
        self._plays: Sequence[Any] = ()
        self._play_number = 0
        self._play_id: str | None = None
        self._progress: Progress | None = None
        self._options: Mapping[str, Any] = {}
        self._told: set[Reporting] = set()

    def _show(self, notice: Notice) -> None:
        show = self._display.warning if notice.level == "warning" else self._display.vvv
        show(f"flashduty_change: {notice.text}")

    @property
    def is_followed(self) -> bool:
        """Whether somebody reads what goes well: with -v, or in the log file."""
        return bool(self._display.verbosity or C.DEFAULT_LOG_PATH)

    def tell(self, text: str) -> None:
        """Say what goes well, where :attr:`is_followed`."""
        text = f"flashduty_change: {self.integrations.redact(text)}"
        if self._display.verbosity:
            self._display.v(text)
        else:
            self._display.display(text, log_only=True)

    @property
    def is_open(self) -> bool:
        """Whether a change was reported that has not ended."""
        return any(reporting.is_open for reporting in self.integrations)

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
        self.outcome.batch_starts(host.name for host in inventory.get_hosts(play.hosts))

    def task_starts(self) -> None:
        """A task starts: no signal so far has ended the run."""
        if self._pid == 1:
            reap_orphans()
        if self.signals is not None:
            self.signals.forget()

    def task_changed(self, result: Any) -> None:
        """A task changed something on a host."""
        task = part_of(result, "task")
        # A report is no change.
        if _options.CALLBACK in (task.action, getattr(task, "resolved_action", None)):
            return
        for reporting in self.integrations:
            changes = reporting.changes.of_host(part_of(result, "host").get_name())
            self._report(reporting, [change for change in changes if not change.reported])

    def host_failed(self, result: Any) -> None:
        """A task failed on a host, or did not reach it; whether that counts, the end tells."""
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.failed_task import (
            answers_a_failure,
            failed_task,
        )

        host = part_of(result, "host").get_name()
        if host in self.outcome.failures and answers_a_failure(part_of(result, "task")):
            return
        with_message = self.settings is not None and self.settings.options["failure_detail"] == "message"
        self.outcome.failures[host] = failed_task(result, with_message)

    def playbook_ends(self, stats: Any) -> None:
        """A playbook of the command line has come to its statistics."""
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.ending import playbook_ends

        playbook_ends(self, stats)

    def failed(self, method: str, error: Exception) -> None:
        """Something was not heard, or not reported, because of an error of ours."""
        # The statistics decide whether a host was reached.
        self.outcome.pending_hosts.clear()
        meaning = "something-missing" if self.is_open else "nothing-yet"
        self.notices.warning(meaning, where=f"in {method}, {type(error).__name__}: {error}")

    # Plays

    def _new_play(self, play: Any, hosts: list[Any]) -> None:
        variables, template = operators_view(play, hosts, self.notices)
        options = self._resolved(variables, template)
        if options is None or not options["enabled"]:
            return
        if context.CLIARGS.get("check") and not options["report_check_mode"] and not options["preview"]:
            return
        if not self.integrations:
            if not hosts:
                return
            problem = None if options["preview"] else requests_is_missing() or NO_SQLITE
            if problem:
                refuse(self.notices, problem)
                return
            subject = Subject.of(self._path, self._plays, play, context.CLIARGS)
            self.settings = Settings.of(options, template, play, subject, self._started, self.notices)
        if self.settings is not None:
            self._add_play(self.settings, play, hosts, options)

    def _resolved(self, variables: Mapping[str, Any], template: Callable[[Any], Any]) -> Mapping[str, Any] | None:
        """The options of a play; where they cannot be used those of the play before it, None where there is none."""
        try:
            options = _options.resolved(variables, template)
            self.notices.language = language_of(str(options["language"]), os.environ)
            self.wait = asked_seconds(options["wait"])
            self._options = options
        except InvalidConnection as error:
            if not self.integrations:
                refuse(self.notices, str(error))
                return None
            self.notices.warning("settings-kept", problem=error)
        return self._options

    def _begin(self, settings: Settings, options: Mapping[str, Any], connection: Connection) -> Reporting:
        """Report to an integration from now on."""
        run = uuid.uuid4().hex
        sink = self._new_sink(options, settings, connection, run)
        if settings.only_changed:
            # This run may have nothing of its own to send.
            sink.deliver_what_waits()
        if not self.integrations:
            atexit.register(self._at_exit)
        events = Events(settings, self.integrations.redact, self.outcome)
        return Reporting(run, connection, Changes(settings, self.notices), events, sink)

    def _new_sink(
        self, options: Mapping[str, Any], settings: Settings, connection: Connection, run: str
    ) -> RunDelivery | Preview:
        if options["preview"]:
            from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.preview import Preview

            return Preview(self._display, self.notices)
        self.signals = self.signals or Signals(signal.set_wakeup_fd)
        return RunDelivery(
            _options.state_dir(options),
            connection,
            Process.of(self._pid),
            run,
            self.signals,
            settings.described(settings.messages.said("vanished")),
            settings.described(settings.messages.said("interrupted")),
            "killed" if settings.options["outcome_labels"] else "",
            self.notices,
        )

    def _add_play(self, settings: Settings, play: Any, hosts: list[Any], options: Mapping[str, Any]) -> None:
        """A play that is reported starts: its changes are reported, or await that a task changes something."""
        playbook = self._playbooks[-1]
        name = play.get_name() or ""
        name = plain_text("" if name == ",".join(play.hosts) else name)
        # Values of single hosts come on top, so those of the first must not be below.
        texts = self._texts(name, playbook, play, hosts if settings.scope == "run" else (), options)
        targets = self._targets(settings, play, hosts, texts.variable_names if texts is not None else ())
        is_first = not any(reporting.changes.all for reporting in self.integrations)
        begins = functools.partial(self._begin, settings)
        parts = self.integrations.members(play, targets, options, begins)
        if not self.integrations:
            return
        self.outcome.play_starts(name, [host.name for host in hosts])
        settings.rules.groups.read(targets)
        reports_progress = settings.options["progress"] == "play"
        if reports_progress:
            playbooks = max(len(context.CLIARGS.get("args") or ()), len(self._playbooks))
            self._progress = Progress(self._play_number, len(self._plays), len(self._playbooks), playbooks, name)
        # The first play is the run's beginning, milliseconds after it.
        began = self._started if is_first else time.time()
        found = {
            reporting: reporting.changes.add_play(play.hosts, members, playbook, texts, began)
            for reporting, members in parts.items()
        }
        if settings.scope == "run":
            self._expect(settings, play, playbook, {reporting: changes[0] for reporting, changes in found.items()})
        for reporting, changes in found.items():
            again = [change for change in changes if change.reported and reports_progress]
            begin = [change for change in changes if not change.reported and not settings.only_changed]
            self._report(reporting, [*again, *begin])

    def _texts(
        self, name: str, playbook: str, play: Any, hosts: Sequence[Any], options: Mapping[str, Any]
    ) -> PlayTexts | None:
        if not any(options[text] for text in TEXTS):
            return None
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.templates import PlayTexts

        return PlayTexts(name, playbook, play, hosts, options, self.notices)

    def _targets(
        self, settings: Settings, play: Any, hosts: Sequence[Any], names: Iterable[str] = ()
    ) -> list[TargetHost]:
        rules = settings.rules
        return target_hosts(
            play,
            hosts,
            (*rules.variable_names, *names),
            self.notices,
            written=rules.written_names,
            compared=_options.INTEGRATION_VARIABLES,
        )

    def _expect(self, settings: Settings, play: Any, playbook: str, changes: Mapping[Reporting, Change]) -> None:
        """Add the hosts of the plays to come: the first event shows where the run will go."""
        for change in changes.values():
            for argument in context.CLIARGS.get("args") or () if not change.reported else ():
                # One that a collection brings has another name here than when it runs.
                if argument.endswith((".yml", ".yaml")):
                    change.labels.add_playbook(os.path.basename(argument))
        later = self._plays[self._play_number :]
        # Once the first event has shown them, only labels that may grow look there again.
        keeps_labels = settings.options["labels_at_end"] == "same"
        changes = {key: each for key, each in changes.items() if not (each.reported and keeps_labels)}
        if not later or not changes:
            return
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.later_plays import new_hosts

        known = {name for change in changes.values() for name in (*change.hosts, *change.coming)}
        for coming, patterns, hosts in new_hosts(later, known, play.get_loader(), self.notices):
            targets = self._targets(settings, coming, hosts)
            for reporting, members in self.integrations.members(coming, targets).items():
                if reporting in changes:
                    changes[reporting].expect(members, playbook, reporting.changes.is_named(patterns))

    # Events

    def _report(self, reporting: Reporting, changes: Sequence[Change]) -> None:
        """Report changes that begin or go on."""
        if changes:
            events = reporting.report(changes, self._progress)
            if reporting not in self._told and reporting.sink.store is not None and self.is_followed:
                self._tell_beginning(events, reporting.sink.store.integration if self.integrations.are_parted else "")
            self._told.add(reporting)
        self.awaits_change = any(each.awaits_change for each in self.integrations)
        set_current_runs(each.as_current for each in self.integrations)

    def _tell_beginning(self, events: Sequence[ChangeEvent], integration: str) -> None:
        """Say under which key a run is reported.

        :param integration: its id, where the run reports to several.
        """
        first = events[0]
        link = f", {first.link}" if first.link else ""
        more = self.notices.said("and-more", count=len(events) - 1) if len(events) > 1 else ""
        name = "this-run"
        if integration:
            from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.integrations import name_of

            name, integration = "part-of-this-run", name_of(integration)
        self.tell(self.notices.said(name, change=f"{first.change_key}{link}{more}", integration=integration))

    def _at_exit(self) -> None:
        try:
            if os.getpid() == self._pid and self.is_open:
                from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.ending import close

                close(self)
        except KeyboardInterrupt:
            # A second Ctrl-C ends the wait.
            pass
        except Exception as error:  # the courier, or the next run, closes it then
            self.notices.warning("end-left", problem=error)
