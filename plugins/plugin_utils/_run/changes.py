# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The changes of one run and what is reported of them, from the first play to the end.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible import context

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    DESCRIPTION_MAX,
    ChangeEvent,
    plain_text,
    shortened,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_file import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import (
    LabelRules,
    RunLabels,
    built_in_labels,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.variables import targets as target_hosts
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.context import (
    RunContext,
    generated_change_key,
    key_within_job,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import (
    CurrentRun,
    JoinedChange,
    set_current_run,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.delivery import Road
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.base import (
    Progress,
    Texts,
    host_counts,
    texts,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import (
    Ends,
    FailedTask,
    HostEnd,
    RunOutcome,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.scopes import Change, Scopes
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.templates import PlayTexts, first_line

_TITLE_MAX = 256


class Settings(NamedTuple):
    """What is decided with the first play that is reported. Make it with :meth:`of`.

    :ivar change_key: the key of the run's change, or what the keys of its changes begin with.
    :ivar is_check: whether the run is reported as one in check mode.
    """

    scope: str
    only_changed: bool
    with_progress: bool
    with_message: bool
    change_key: str
    is_check: bool
    where: RunContext
    words: Texts
    rules: LabelRules
    built_in: Mapping[str, str]

    def described(self, text: str) -> str:
        """A description of the text, and who runs what where."""
        return shortened(plain_text(f"{text}\n{self.words.origin(self.where)}", lines=True), DESCRIPTION_MAX)

    @classmethod
    def of(
        cls,
        options: Mapping[str, Any],
        template: Callable[[Any], Any],
        extra_vars: Mapping[str, Any],
        playbook: str,
        hosts: Sequence[str],
        started: float,
        notices: Notices,
    ) -> Settings:
        """From the options of the callback.

        :param template: renders the option ``change_key``.
        :param playbook: the playbook's path.
        :param hosts: the pattern of the first play.
        :param started: when the run started, Unix seconds.
        """
        arguments = context.CLIARGS
        where = RunContext.detect(os.environ, extra_vars, playbook=playbook)
        is_check = bool(arguments.get("check") and options["report_check_mode"])
        built_in = built_in_labels(
            user=where.user,
            controller=where.controller,
            limit=arguments.get("subset"),
            tags=arguments.get("tags") or (),
            skip_tags=arguments.get("skip_tags") or (),
        )
        key = _rendered_key(options["change_key"], template, notices)
        if not key and where.change_key is not None:
            key = key_within_job(
                where.change_key,
                arguments.get("args") or (playbook,),
                arguments.get("inventory") or (),
                arguments.get("subset"),
                (sorted(arguments.get("tags") or ()), sorted(arguments.get("skip_tags") or ()), hosts),
                os.environ,
            )
        key = key or generated_change_key(started, where.controller)
        return cls(
            scope=options["scope"],
            only_changed=options["report_when"] == "changed",
            with_progress=options["progress"] == "play",
            with_message=options["failure_detail"] == "message",
            # A check must not close the change of its ticket.
            change_key=f"{key}/check" if is_check else key,
            is_check=is_check,
            where=where,
            words=texts(options["language"], os.environ),
            rules=LabelRules.from_options(
                options["label_groups"] or (), options["label_vars"] or (), options["labels"] or {}, notices
            ),
            built_in={**built_in, "check_mode": "true"} if is_check else built_in,
        )


def _rendered_key(given: Any, template: Callable[[Any], Any], notices: Notices) -> str:
    try:
        return plain_text(str(template(given))).strip() if given else ""
    except Exception as error:  # a template can raise anything
        notices.warning(f"change_key is left at its default, its template failed: {first_line(error)}")
        return ""


class RunChanges:
    """The changes of one run.

    :param run: the run's id in the outbox.
    :param started: when the run started, Unix seconds.
    :param connection: keeps the integration key out of the events.
    :param road: makes the way of the events once there are any.
    """

    def __init__(
        self,
        settings: Settings,
        run: str,
        started: float,
        connection: Connection,
        road: Callable[[], Road],
        notices: Notices,
    ) -> None:
        self._settings = settings
        self._run = run
        self._started = started
        self._connection = connection
        self._make_road = road
        self._road: Road | None = None
        self._notices = notices
        self._outcome = RunOutcome()
        self._scopes = Scopes(settings.scope, self._new_labels)
        self._progress: Progress | None = None
        self._beginning: list[ChangeEvent] = []
        self._ending: list[ChangeEvent] = []
        #: Whether a task that changes something may begin a change.
        self.await_change = False

    @property
    def scope(self) -> str:
        """``run``, ``group`` or ``host``."""
        return self._settings.scope

    @property
    def open(self) -> list[Change]:
        """The changes that were reported and have not ended."""
        return [change for change in self._scopes.changes if change.reported]

    # Plays

    def play_starts(
        self,
        play: Any,
        playbook: str,
        hosts: list[Any],
        options: Mapping[str, Any],
        variables: Callable[[], Mapping[str, Any]],
        progress: Progress,
        later: Sequence[Any],
    ) -> None:
        """A play starts: its changes are reported, or await that a task changes something.

        :param hosts: the inventory hosts that it targets, in all its batches.
        :param variables: reads those of the play; with scope ``run``, of its first host.
        :param later: the plays of this playbook that are to come.
        """
        name = play.get_name() or ""
        name = plain_text("" if name == ",".join(play.hosts) else name)
        view = PlayTexts(name, playbook, play.get_loader(), options, variables, self._notices)
        names = (*self._settings.rules.variable_names, *view.variable_names)
        targets = target_hosts(play, hosts, names, self._notices)
        self._outcome.play_starts(name, [host.name for host in hosts])
        # The first play is the run's beginning, milliseconds after it.
        began = time.time() if self._scopes.changes else self._started
        changes = self._scopes.add_play(play.hosts, hosts, targets, view, began)
        if self.scope == "run":
            self._expect(changes[0], play, later, playbook)
        self._progress = progress._replace(name=name) if self._settings.with_progress else None
        begin = [change for change in changes if not change.reported and not self._settings.only_changed]
        again = [change for change in changes if change.reported and self._progress is not None]
        self._report([*again, *begin])

    def _expect(self, change: Change, play: Any, later: Sequence[Any], playbook: str) -> None:
        """Whoever is on call need not wait for the last play to see where the run will go."""
        if not later:
            return
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.later_plays import new_hosts

        names = self._settings.rules.variable_names
        for coming, hosts in new_hosts(later, {**change.hosts, **change.coming}, play.get_loader(), self._notices):
            change.expect(target_hosts(coming, hosts, names, self._notices), playbook)

    def batch_starts(self, hosts: Iterable[str]) -> None:
        """A play, or a batch of it, starts on these hosts."""
        self._outcome.batch_starts(hosts)

    # Hosts

    def host_failed(self, result: Any) -> None:
        """A task failed on a host, or did not reach it; whether that counts, the end tells."""
        self._outcome.failures[result._host.get_name()] = FailedTask.of(result, self._settings.with_message)

    def task_changed(self, result: Any) -> None:
        """A task changed something on a host."""
        task = result._task
        # A report is no change.
        if _options.CALLBACK not in (task.action, getattr(task, "resolved_action", None)):
            changes = self._scopes.of_host(result._host.get_name())
            begin = [change for change in changes if not change.reported]
            if begin:
                self._report(begin)

    def joined_by(self, host: str) -> JoinedChange | None:
        """What a task of a host without a ``change_key`` reports to; None where none of its changes is open."""
        change = next((change for change in self._scopes.of_host(host) if change.reported), None)
        if change is None:
            return None
        event = self._event(change, "Processing", "", time.time())
        return JoinedChange(event.change_key, event.title, event.link, event.labels)

    def lost_track(self) -> None:
        """It was not heard which hosts are reached: they are taken for reached, and the statistics decide."""
        self._outcome.awaited.clear()

    # Ends

    def ends(self, stats: Any) -> Ends:
        """How the run has ended for each host, by the statistics."""
        return self._outcome.ends(stats)

    def close(self, ends: Ends, ended_at: float, wait: float) -> None:
        """End each change with its truth.

        :param ended_at: when the last playbook ended, Unix seconds.
        """
        self._last(self._ending or [self._ended(change, ends, ended_at) for change in self.open], wait)

    def cancel(self, reason: Callable[[Texts, float], str], wait: float) -> None:
        """Cancel what is open.

        :param reason: says why, in the language and after so many seconds.
        """
        now = time.time()
        text = self._settings.described(reason(self._settings.words, now - self._started))
        self._last(self._ending or [self._event(change, "Canceled", text, now) for change in self.open], wait)

    def _ended(self, change: Change, ends: Ends, now: float) -> ChangeEvent:
        settings = self._settings
        hosts = [*(ends.of if settings.scope == "run" else change.hosts)]
        failed = ends.failed if settings.scope == "run" else any(ends.of[host] is not HostEnd.OK for host in hosts)
        text = settings.words.end(
            settings.scope,
            ends,
            hosts,
            self._outcome.failures,
            self._outcome.awaited,
            now - change.began,
            settings.where,
        )
        if settings.with_progress and not failed:
            text = f"{settings.words.complete()}\n{text}"
        return self._event(change, "Canceled" if failed else "Done", text, now, ends)

    def _last(self, events: list[ChangeEvent], wait: float) -> None:
        set_current_run(None)
        self.await_change = False
        # Should this be interrupted, it is these events that are stored, and only once.
        self._ending = events
        if events:
            ending = {event.change_key for event in events}
            self.road.close([*(event for event in self._beginning if event.change_key in ending), *events])
            self._beginning = []
            self._mark(self._scopes.changes, False)
            self.road.wait(wait)

    # Events

    @property
    def road(self) -> Road:
        """The way of the events, made when it is first needed."""
        if self._road is None:
            self._road = self._make_road()
        return self._road

    def _report(self, changes: Iterable[Change]) -> None:
        settings = self._settings
        events, new = [], []
        for change in changes:
            hosts = [*{**change.hosts, **change.coming}]
            text = settings.words.beginning(settings.scope, hosts, settings.where, self._progress)
            events.append(self._event(change, "Processing", text, time.time() if change.reported else change.began))
            new += [] if change.reported else [change]
        if events:
            # Ctrl-C leaves open whether they were stored: whoever closes the changes stores them too.
            self._beginning = events
            # Before they are stored, so that there is no moment at which nobody would close them.
            self._mark(new, True)
            try:
                self.road.put(events)
            except OutboxError:
                self._mark(new, False)
                self._beginning = []
                raise
            self._beginning = []
        self.await_change = settings.only_changed and any(not change.reported for change in self._scopes.changes)
        folder, integration = (self._road.folder, self._road.integration) if self.open and self._road else ("", "")
        set_current_run(CurrentRun(self._run, folder, integration, self.joined_by))

    @staticmethod
    def _mark(changes: Iterable[Change], reported: bool) -> None:
        for change in changes:
            change.reported = reported

    def _event(
        self, change: Change, status: str, text: str, event_time: float, ends: Ends | None = None
    ) -> ChangeEvent:
        settings, play = self._settings, change.play
        now = time.time()
        run = self._run_variable(change, status, text, event_time, ends) if play.has_templates else {}
        title = play.rendered("title", run, change.variables) or settings.words.title(
            play.name, play.playbook, settings.scope, change.target
        )
        title = settings.words.check_mode(title) if settings.is_check else title
        description = play.rendered("description", run, change.variables) or text
        labels = (change.expected if status == "Processing" else change.labels).labels()
        return ChangeEvent.validated(
            {
                "change_status": status,
                "change_key": self._key(change),
                "title": shortened(plain_text(self._connection.redact(title)), _TITLE_MAX),
                # A clock that was set back must not put the event into the future.
                "event_time": int(min(event_time, now)),
                "description": shortened(plain_text(self._connection.redact(description), lines=True), DESCRIPTION_MAX),
                "link": play.rendered("link", run, change.variables) or settings.where.job_url,
                "labels": {key: self._connection.redact(value) for key, value in labels.items()},
            },
            now,
        )

    def _key(self, change: Change) -> str:
        key = self._settings.change_key
        return f"{key}/{change.target}" if change.target else key

    def _new_labels(self, target: str) -> RunLabels:
        exact = {"group": target} if self._settings.scope == "group" else {}
        return RunLabels(self._settings.rules, {**self._settings.built_in, **exact}, self._notices)

    def _run_variable(
        self, change: Change, status: str, text: str, event_time: float, ends: Ends | None
    ) -> dict[str, Any]:
        """The variable ``flashduty_run`` of the templates."""
        where, hosts = self._settings.where, [*change.hosts]
        broken = [host for host in hosts if ends and ends.of[host] in (HostEnd.FAILED, HostEnd.UNREACHABLE)]
        return {
            "status": status,
            "change_key": self._key(change),
            "scope": self._settings.scope,
            "target": change.target,
            "text": text,
            "duration": max(0, int(event_time - change.began)),
            "hosts": hosts,
            "groups": change.groups,
            "counts": host_counts(ends, hosts),
            "failed": [self._failed(host) for host in broken],
            "check_mode": self._settings.is_check,
            "play": change.play.name,
            "playbook": change.play.playbook,
            "user": where.user,
            "controller": where.controller,
            "system": where.system,
            "job": where.job_name or "",
            "job_url": where.job_url or "",
            "branch": where.branch or "",
            "revision": where.revision or "",
        }

    def _failed(self, host: str) -> dict[str, str]:
        task = self._outcome.failures.get(host) or FailedTask(None, "", "", "")
        found = {"host": host, "task": task.name or "", "module": task.module, "path": task.path}
        return {**found, "message": task.message} if self._settings.with_message else found
