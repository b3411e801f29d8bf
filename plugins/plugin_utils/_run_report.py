# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of one run as one change: what the callback hears becomes events in the outbox.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from ansible import context
from ansible.template import Templar

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    DESCRIPTION_MAX,
    ChangeEvent,
    plain_text,
    shortened,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection, InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _inventory_variables, _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._current_run import CurrentRun, set_current_run
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._dispatch import (
    Dispatch,
    requests_is_missing,
    usable_folder,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels import LabelRules, RunLabels, built_in_labels
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run_context import RunContext, generated_change_key

_TITLE_MAX = 256
_SHOWN_FAILURES = 20
# Seconds that the end of an interrupted run waits for its delivery.
_WAIT_INTERRUPTED = 2.0
FLUSH = "ansible-playbook flashcat.flashduty.flush"
VANISHED = "ansible-playbook was killed before it could finish."


class RunReport:
    """One run of ansible-playbook, whatever number of playbooks and plays.

    :param warn: shows a warning to the user.
    :param tell: shows a detail to whoever asks for it.
    """

    def __init__(self, warn: Callable[[str], object], tell: Callable[[str], object]) -> None:
        self._warner = warn
        self._teller = tell
        self._pid = os.getpid()
        self._playbooks: list[str] = []
        self._plays = 0
        self._refused_options: set[str] = set()
        self._failures: dict[str, str] = {}
        self._wait = 10.0
        self._started = time.time()
        self._open = False
        self._ended_well = 0
        self._signals: int | None = None
        self._connection: Connection | None = None
        self._dispatch: Dispatch | None = None
        self._labels: RunLabels | None = None
        self._notices = Notices()
        self._run = uuid.uuid4().hex
        self._event: dict[str, Any] = {}
        self._prefix = ""
        self._rules = LabelRules()

    def _warn(self, text: str) -> None:
        self._warner(f"flashduty_change: {text}")

    def _tell(self, text: str) -> None:
        self._teller(f"flashduty_change: {text}")

    def redact(self, text: str) -> str:
        """The text without the integration key."""
        return self._connection.redact(text) if self._connection is not None else text

    def playbook_starts(self, path: str) -> None:
        """A playbook of the command line starts."""
        self._playbooks.append(os.path.basename(path))

    def play_starts(self, play: Any, set_wakeup_fd: Callable[..., int]) -> None:
        """A play, or a batch of one, starts."""
        manager = play.get_variable_manager()
        hosts = manager._inventory.get_hosts(play.hosts, ignore_restrictions=True)
        self._plays += 1
        if not self._open:
            self._open_for(play, manager, hosts, set_wakeup_fd)
        elif self._labels is not None:
            self._add_labels(play, hosts)

    def host_failed(self, host: str, task: Any) -> None:
        """A task failed on a host, or did not reach it; whether that counts, the statistics tell."""
        if task.no_log:
            name = "a task with no_log"
        else:
            where = str(task.get_path() or "")
            source = f", {os.path.basename(where)}" if where else ""
            name = f"task '{plain_text(task.get_name())}' ({task.action}{source})"
        self._failures[host] = name

    def playbook_ends(self, stats: Any) -> None:
        """A playbook of the command line has come to its statistics."""
        if not self._open:
            return
        failed = _exit_code_so_far()
        if failed is None:
            failed = bool(stats.failures or stats.dark)
        if not failed:
            self._ended_well += 1
            if self._ended_well < len(context.CLIARGS.get("args") or ()):
                return
        self._close("Canceled" if failed else "Done", self._summary(stats, failed), self._wait)

    # The start

    def _open_for(self, play: Any, manager: Any, hosts: list[Any], set_wakeup_fd: Callable[..., int]) -> None:
        variables = manager.get_vars(play=play, host=hosts[0] if hosts else None)
        templar = Templar(loader=play.get_loader(), variables=variables)
        options = _options.resolved(variables, templar.template)
        if not options["enabled"]:
            return
        problem = requests_is_missing()
        try:
            self._connection = Connection.from_options(options)
        except InvalidConnection as error:
            problem = str(error)
        if problem is not None or self._connection is None:
            if problem not in self._refused_options:
                self._refused_options.add(str(problem))
                self._warn(f"this run is not reported to Flashduty: {problem}")
            return
        self._wait = float(options["wait"])
        self._begin(play, manager, hosts, options, templar, self._connection)
        self._watch_for_signals(set_wakeup_fd)
        atexit.register(self._at_exit)

    def _begin(
        self,
        play: Any,
        manager: Any,
        hosts: list[Any],
        options: Mapping[str, Any],
        templar: Any,
        connection: Connection,
    ) -> None:
        where = RunContext.detect(os.environ, manager.extra_vars)
        folder, notice = usable_folder(_options.state_dir(options))
        if notice is not None:
            self._warn(notice)
        arguments = context.CLIARGS
        self._rules = LabelRules.from_options(options["label_vars"] or (), options["labels"] or {}, self._notices)
        self._labels = RunLabels(
            self._rules,
            built_in_labels(
                user=where.user,
                controller=where.controller,
                limit=arguments.get("subset"),
                tags=arguments.get("tags") or (),
                skip_tags=arguments.get("skip_tags") or (),
            ),
            self._notices,
        )
        self._add_labels(play, hosts)
        self._prefix = self._rendered(options, "description", templar)
        name = play.get_name() or ""
        title = self._rendered(options, "title", templar) or (
            f"{name} ({self._playbooks[-1]})" if name and name != ",".join(play.hosts) else self._playbooks[-1]
        )
        self._event = {
            "change_key": self._rendered(options, "change_key", templar)
            or where.change_key
            or generated_change_key(self._started, where.controller),
            "title": shortened(plain_text(self.redact(title)), _TITLE_MAX),
            "link": self._rendered(options, "link", templar) or where.job_url,
        }
        process = Process.of(self._pid)
        self._dispatch = Dispatch(folder, connection, process, self._run)
        targets = f"{len(hosts)} host{'' if len(hosts) == 1 else 's'}"
        started = self._made("Processing", f"Started by {where.user} on {where.controller}: {targets}.")
        with Outbox(folder) as outbox:
            outbox.open_run(self._run, self._dispatch.integration, process, self._described(VANISHED), [started])
        self._open = True
        set_current_run(
            CurrentRun(
                self._run,
                folder,
                self._dispatch.integration,
                started.change_key,
                started.title,
                started.link,
                started.labels,
            )
        )
        self._call_courier(self._dispatch)
        self._show_notices()

    def _call_courier(self, dispatch: Dispatch) -> bool:
        try:
            dispatch.call()
        except (OSError, NotImplementedError) as error:
            self._tell(f"the courier cannot be started: {error}")
            return False
        return True

    def _rendered(self, options: Mapping[str, Any], name: str, templar: Any) -> str:
        value = options.get(name)
        if not value:
            return ""
        try:
            return str(templar.template(value)).strip()
        except Exception as error:  # a template can raise anything
            self._warn(f"{name} is left at its default, its template failed: {self.redact(str(error))}")
            return ""

    def _add_labels(self, play: Any, hosts: list[Any]) -> None:
        if self._labels is not None:
            found = _inventory_variables.targets(play, hosts, self._rules.variable_names, self._notices)
            self._labels.add_play(found, self._playbooks[-1])

    def _show_notices(self) -> None:
        for notice in self._notices.take():
            (self._warn if notice.level == "warning" else self._tell)(self.redact(notice.text))

    # The end

    def _summary(self, stats: Any, failed: bool) -> str:
        broken = sorted(set(stats.failures) | set(stats.dark))
        lines = []
        for host in broken[:_SHOWN_FAILURES] if failed else ():
            verb = "Unreachable" if host in stats.dark else "Failed"
            lines.append(f"{verb}: {host} at {self._failures.get(host, 'an unknown task')}.")
        if failed and len(broken) > _SHOWN_FAILURES:
            lines.append(f"And {len(broken) - _SHOWN_FAILURES} more hosts.")
        if failed and not broken:
            lines.append("Stopped before all hosts were through.")
        good = len(set(stats.processed) - set(broken))
        if stats.processed:
            lines.append(
                f"{good} of {len(stats.processed)} hosts ok, {len(stats.changed)} changed, {self._duration()}."
            )
        else:
            lines.append(f"No host ran a task, {self._duration()}.")
        return "\n".join(lines)

    def _duration(self) -> str:
        seconds = int(time.time() - self._started)
        minutes, seconds = divmod(seconds, 60)
        return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"

    def _at_exit(self) -> None:
        if os.getpid() != self._pid or not self._open:
            return
        try:
            if signal.SIGINT in self._received():
                text = f"Interrupted by Ctrl-C after {self._duration()}."
            elif self._ended_well:
                text = f"Stopped after {self._ended_well} of the playbooks, before the next could start."
            else:
                text = f"Stopped by an error of ansible-playbook after {self._duration()}, before all plays ended."
            self._close("Canceled", text, min(self._wait, _WAIT_INTERRUPTED))
        except Exception as error:  # the courier, or the next run, closes it then
            self._warn(f"the end of this run is left to the courier: {self.redact(str(error))}")

    def _close(self, status: str, text: str, wait: float) -> None:
        dispatch = self._dispatch
        if dispatch is None:
            return
        self._open = False
        set_current_run(None)
        ended = self._made(status, text)
        with Outbox(dispatch.folder) as outbox:
            outbox.close_run(self._run, dispatch.integration, [ended])
        called = self._call_courier(dispatch)
        delivered = called and dispatch.wait(lambda outbox: not outbox.pending(dispatch.integration, self._run), wait)
        with Outbox(dispatch.folder) as outbox:
            refused = outbox.tell_refusals(dispatch.integration)
            waiting = 0 if delivered else outbox.pending(dispatch.integration)
            reason = outbox.last_error(dispatch.integration)
        if waiting:
            self._warn(
                f"{_events(waiting)} not delivered yet ({reason or 'no answer yet'}), kept in {dispatch.folder};"
                f" the next run delivers what waits, or now: {FLUSH}"
            )
        if refused:
            first = refused[0]
            self._warn(
                f"Flashduty refused {_events(len(refused))} for good: {first.error}"
                f" (HTTP {first.http_status}, change {first.change_key}, request_id {first.request_id or 'none'})."
                " Check the integration key and the labels"
            )
        self._show_notices()

    def _made(self, status: str, text: str) -> ChangeEvent:
        now = time.time()
        labels = self._labels.labels() if self._labels is not None else {}
        return ChangeEvent.validated(
            {
                **self._event,
                "change_status": status,
                "event_time": int(now),
                "description": self._described(text),
                "labels": {key: self.redact(value) for key, value in labels.items()},
            },
            now,
        )

    def _described(self, text: str) -> str:
        whole = "\n".join(part for part in (self._prefix, text) if part)
        return shortened(plain_text(self.redact(whole), lines=True), DESCRIPTION_MAX)

    def _watch_for_signals(self, set_wakeup_fd: Callable[..., int]) -> None:
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        previous = set_wakeup_fd(write, warn_on_full_buffer=False)
        if previous != -1:
            set_wakeup_fd(previous)
            os.close(read)
            os.close(write)
            return
        self._signals = read

    def _received(self) -> set[int]:
        if self._signals is None:
            return set()
        try:
            return set(os.read(self._signals, 4096))
        except BlockingIOError:
            return set()


def _events(count: int) -> str:
    return f"{count} event{'' if count == 1 else 's'}"


def _exit_code_so_far() -> bool | None:
    """Whether the playbook that is ending has failed by the executor's own account; None where it cannot be asked.

    The statistics still count what ``meta: clear_host_errors`` has forgiven, the exit code does not.
    """
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "run" and type(frame.f_locals.get("self")).__name__ == "PlaybookExecutor":
            result = frame.f_locals.get("result")
            return bool(result) if isinstance(result, int) else None
        frame = frame.f_back
    return None
