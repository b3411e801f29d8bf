# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is decided for a run with its first play that is reported."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible import context

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    DESCRIPTION_MAX,
    plain_text,
    shortened,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.inventory_path import labels_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import LabelRules, built_in_labels
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.context import (
    RunContext,
    generated_change_key,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import Messages
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.subject import Subject
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.templates import template_failed


class Settings(NamedTuple):
    """What is decided with the first play that is reported. Make it with :meth:`of`.

    :ivar change_key: the key of the run's change, or what the keys of its changes begin with.
    :ivar is_check: whether the run is reported as one in check mode.
    :ivar keeps_labels: whether the labels of a change stay those of its first event.
    """

    scope: str
    only_changed: bool
    with_progress: bool
    with_message: bool
    change_key: str
    is_check: bool
    keeps_labels: bool
    with_outcome: bool
    label_group: str
    label_names_max: int
    where: RunContext
    subject: Subject
    messages: Messages
    rules: LabelRules
    built_in: Mapping[str, str | tuple[str, ...]]

    def described(self, text: str) -> str:
        """A description of the text, and who runs what where."""
        return shortened(plain_text(f"{text}\n{self.messages.origin(self.where)}", lines=True), DESCRIPTION_MAX)

    def key_of(self, target: str) -> str:
        """The key of the change of a host or group; that of the run where ``target`` is empty."""
        return f"{self.change_key}/{target}" if target else self.change_key

    @classmethod
    def of(
        cls,
        options: Mapping[str, Any],
        template: Callable[[Any], Any],
        extra_vars: Mapping[str, Any],
        subject: Subject,
        playbook: str,
        hosts: Sequence[str],
        started: float,
        notices: Notices,
    ) -> Settings:
        """From the options of the callback.

        :param template: renders the option ``change_key``.
        :param subject: what the run runs, and where.
        :param playbook: the playbook's path.
        :param hosts: the pattern of the first play.
        :param started: when the run started, Unix seconds.
        """
        arguments = context.CLIARGS
        where = RunContext.detect(os.environ, extra_vars, playbook=playbook)
        is_check = bool(arguments.get("check") and options["report_check_mode"])
        built_in: Mapping[str, str | tuple[str, ...]] = built_in_labels(
            actor=where.actor,
            controller=where.controller,
            limit=arguments.get("subset"),
            tags=arguments.get("tags") or (),
            skip_tags=arguments.get("skip_tags") or (),
        )
        # The path of a job's inventory is that of a temporary folder.
        sources = () if where.system == "awx" else arguments.get("inventory") or ()
        built_in = {**labels_of(sources, os.getcwd()), **built_in, **where.labels}
        key = _rendered_key(options["change_key"], template, notices)
        if not key and where.change_key is not None:
            from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.job import key_within_job

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
            keeps_labels=options["labels_at_end"] == "same",
            with_outcome=options["outcome_labels"],
            label_group=options["label_group"],
            label_names_max=options["label_names_max"],
            where=where,
            subject=subject,
            messages=Messages(notices.language),
            rules=LabelRules.from_options(
                options["label_groups"] or (),
                options["label_vars"] or (),
                options["labels"] or {},
                notices,
                vars_by_default=options["label_vars"] is not None and _options.is_default("label_vars", options),
            ),
            built_in={**built_in, "check_mode": "true"} if is_check else built_in,
        )


def _rendered_key(given: Any, template: Callable[[Any], Any], notices: Notices) -> str:
    try:
        return plain_text(str(template(given))).strip() if given else ""
    except Exception as error:  # a template can raise anything
        template_failed("change_key", error, notices)
        return ""
