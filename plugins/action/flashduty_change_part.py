# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._argspec import CONNECTION_OPTIONS, PART_OPTIONS
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._operator_variables import task_host
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.parts import Part
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import CurrentRun, current_runs
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.notices import notice
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.preview import show
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.action import (
    REPORT_ERRORS,
    TaskAction,
    TaskConnection,
    TurnedOff,
    ansible_playbook,
    failure,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.report import Report


class ActionModule(TaskAction):
    """Keeps account of the hosts on the control node, which alone knows them all."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Store the host's part, and with the last one the end of the change; deliver."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        _unused, options = self.validate_argument_spec(
            {**PART_OPTIONS, **CONNECTION_OPTIONS}, required_if=[("state", "started", ["title"])]
        )
        try:
            where = TaskConnection(self, options, variables, reporting=True)
            if self.runs_elsewhere:
                raise InvalidConnection("delegate_to", "this module runs on the control node only, leave it out")
            host = task_host(variables)
            fields = {**options, "title": options["title"] or "-", "change_status": "Processing"}
            fields["cancel_on_exit"] = True
            store, run = where.store, _reported_run(where)
            change = None if run is None else run.change_of(host)
            if run is not None and (change is None or change.change_key != options["change_key"]):
                run = None
            if run is not None and change is not None:
                # It is the change of the run, which closes it.
                fields.update(cancel_on_exit=False, title=change.title, link=options["link"] or change.link)
                fields["labels"] = {**(options["labels"] or {}), **change.labels}
                store = run.store or store
                if options["state"] != "started":
                    return {**result, "changed": False, "change_key": change.change_key, "change_status": "Processing"}
            elif change is not None:
                if fields["title"] == change.title:
                    fields["title"] = f"{fields['title']} ({options['change_key']})"
                part_of = where.messages.part_of(change.title, change.change_key)
                fields["description"] = "\n".join(filter(None, [options["description"], part_of]))
            report = Report(
                fields,
                where.connection,
                store,
                where.delivery(store),
                ansible_playbook(),
                None if run is None else run.run,
                outcome_labels=where.outcome_labels,
                language=where.language,
            )
            if self._task.check_mode or where.preview:
                preview: dict[str, Any] = report.preview() if options["state"] == "started" else {"changed": False}
                if where.preview and preview["changed"]:
                    show(self._display, preview["event"], where.language)
                result.update(preview)
            elif run is not None:
                result.update(report.send())
            elif options["state"] == "started":
                result.update(report.start(host))
            else:
                part = Part(
                    host, options["state"], _reason(options, where.language), options["failed_task"] or "", time.time()
                )
                result.update(report.end(part, _pending_hosts(options, variables)))
            result["warnings"] = report.warnings
        except TurnedOff as off:
            result.update(changed=False, msg=str(off))
        except REPORT_ERRORS as error:
            result.update(failure(error))
        if not self._task.diff:
            result.pop("diff", None)
        return result


def _reason(options: dict[str, Any], language: str) -> str:
    """Why a host has failed, in that language; empty where it has not."""
    if options["reason"] or options["state"] != "failed":
        return options["reason"] or ""
    at = "failed-at-task" if options["failed_module"] else "failed-at-no-log"
    where = notice(language, at, task=options["failed_task"], module=options["failed_module"])
    if options["failed_message"]:
        where = notice(language, "failed-with", where=where, message=options["failed_message"].rstrip(". "))
    rollback = {
        "none": "",
        "done": notice(language, "rolled-back"),
        "failed": notice(language, "rollback-failed", task=options["rollback_task"])
        if options["rollback_task"]
        else notice(language, "rollback-failed-no-log"),
    }[options["rollback"]]
    return notice(language, "reason", where=where, rollback=rollback)


def _reported_run(where: TaskConnection) -> CurrentRun | None:
    """The run of this process, where the callback reports it to the integration of the task."""
    for run in current_runs():
        if run.store is not None and run.store.integration == where.connection.integration_id(run.store.salt):
            return run
    return None


def _pending_hosts(options: dict[str, Any], variables: dict[str, Any]) -> frozenset[str]:
    """The hosts of the change that can still run tasks."""
    hosts = options["hosts"] or variables.get("ansible_play_hosts_all") or ()
    return frozenset(hosts) & frozenset(variables.get("ansible_play_hosts") or ())
