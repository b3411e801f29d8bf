# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._argspec import PART_OPTIONS
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.parts import Part
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import CurrentRun, current_runs
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.action import TaskAction, TaskConnection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.options import task_host


class ActionModule(TaskAction):
    """Keeps account of the hosts on the control node, which alone knows them all."""

    OPTIONS = PART_OPTIONS
    REQUIRED_IF = (("state", "started", ["title"]),)

    def work(self, options: dict[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Store the host's part, and with the last one the end of the change; deliver."""
        where = TaskConnection(self, options, task_vars, reporting=True)
        if self.runs_elsewhere:
            raise InvalidConnection("delegate_to", "this module runs on the control node only, leave it out")
        host, starts = task_host(task_vars), options["state"] == "started"
        fields = {**options, "title": options["title"] or "-", "change_status": "Processing", "cancel_on_exit": True}
        run = _reported_run(where)
        change = None if run is None else run.change_of(host)
        if change is None or change.change_key != options["change_key"]:
            run = None
        if change is not None and run is not None:
            # It is the change of the run, which closes it.
            if not starts:
                return {"changed": False, "change_key": change.change_key, "change_status": "Processing"}
            fields.update(cancel_on_exit=False, title=change.title, link=options["link"] or change.link)
            fields["labels"] = {**(options["labels"] or {}), **change.labels}
        elif change is not None:
            if fields["title"] == change.title:
                fields["title"] = f"{fields['title']} ({options['change_key']})"
            part_of = self.notices.said("part-of", title=change.title, change_key=change.change_key)
            fields["description"] = "\n".join(filter(None, [options["description"], part_of]))
        report = where.report(fields, run)
        if where.only_look:
            return where.previewed(report) if starts else {"changed": False}
        if run is not None:
            return report.send()
        if starts:
            return report.start(host)
        part = Part(host, options["state"], _reason(options, self.notices), options["failed_task"] or "", time.time())
        return report.end(part, _pending_hosts(options, task_vars))


def _reason(options: dict[str, Any], notices: Notices) -> str:
    """Why a host has failed; empty where it has not."""
    if options["reason"] or options["state"] != "failed":
        return options["reason"] or ""
    at = "failed-at-task" if options["failed_module"] else "failed-at-no-log"
    where = notices.said(at, task=options["failed_task"], module=options["failed_module"])
    if options["failed_message"]:
        where = notices.said("failed-with", where=where, message=options["failed_message"].rstrip(". "))
    rollback = {
        "none": "",
        "done": notices.said("rolled-back"),
        "failed": notices.said("rollback-failed", task=options["rollback_task"])
        if options["rollback_task"]
        else notices.said("rollback-failed-no-log"),
    }[options["rollback"]]
    return notices.said("reason", where=where, rollback=rollback)


def _reported_run(where: TaskConnection) -> CurrentRun | None:
    """The run of this process, where the callback reports it to the integration of the task."""
    for run in current_runs():
        if run.store is not None and run.store.integration == where.connection.integration_id(run.store.salt):
            return run
    return None


def _pending_hosts(options: dict[str, Any], variables: Mapping[str, Any]) -> frozenset[str]:
    """The hosts of the change that can still run tasks."""
    hosts = options["hosts"] or variables.get("ansible_play_hosts_all") or ()
    return frozenset(hosts) & frozenset(variables.get("ansible_play_hosts") or ())
