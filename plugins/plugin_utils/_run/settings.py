# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is decided for a run with its first play that is reported."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ansible import context

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    DESCRIPTION_MAX,
    plain_text,
    shortened,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import InvalidConnection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.inventory_path import labels_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import LabelRules
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.context import (
    RunContext,
    generated_change_key,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import Messages
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.subject import Subject


class Settings(NamedTuple):
    """What is decided with the first play that is reported, and holds for the whole run. Make it with :meth:`of`.

    :ivar options: those of the callback for that play.
    :ivar change_key: the key of the run's change, or what the keys of its changes begin with.
    :ivar is_check: whether the run is reported as one in check mode.
    """

    options: Mapping[str, Any]
    change_key: str
    is_check: bool
    where: RunContext
    subject: Subject
    messages: Messages
    rules: LabelRules
    built_in: Mapping[str, str | tuple[str, ...]]

    @property
    def scope(self) -> str:
        """What one change stands for: ``run``, ``group`` or ``host``."""
        return str(self.options["scope"])

    @property
    def only_changed(self) -> bool:
        """Whether nothing is reported until a task changes something."""
        return bool(self.options["report_when"] == "changed")

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
        play: Any,
        subject: Subject,
        started: float,
        notices: Notices,
    ) -> Settings:
        """From the options of the callback.

        :param template: renders the option ``change_key``.
        :param play: the first play that is reported.
        :param started: when the run started, Unix seconds.
        """
        arguments = context.CLIARGS
        where = RunContext.detect(os.environ, play.get_variable_manager().extra_vars, playbook=subject.path)
        key = _rendered_key(options["change_key"], template, notices)
        if not key and where.change_key is not None:
            from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.job import key_within_job

            key = key_within_job(where.change_key, arguments, subject.path, play.hosts, os.environ)
        key = key or generated_change_key(started, where.controller)
        is_check = bool(arguments.get("check") and options["report_check_mode"])
        return cls(
            options=options,
            # A check must not close the change of its ticket.
            change_key=f"{key}/check" if is_check else key,
            is_check=is_check,
            where=where,
            subject=subject,
            messages=Messages(notices.language),
            rules=LabelRules.from_options(options, notices, _options.is_default("label_vars", options)),
            built_in={
                # The path of a job's inventory is that of a temporary folder.
                **labels_of(() if where.system == "awx" else arguments.get("inventory") or (), os.getcwd()),
                "source": "ansible",
                "actor": where.actor,
                "controller": where.controller,
                "limit": subject.limit,
                "tags": subject.tags,
                "skip_tags": subject.skip_tags,
                "check_mode": "true" if is_check else "",
                **where.labels,
            },
        )


def asked_seconds(option: str) -> float | None:
    """The seconds that the option ``wait`` asks for; None where it leaves them to the end of the run.

    :raises InvalidConnection: where it is no number of seconds.
    """
    if option.strip().lower() == "auto":
        return None
    try:
        seconds = float(option)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise InvalidConnection("wait", f"must be auto or a number of seconds, got {option!r}")
    return seconds


def _rendered_key(given: Any, template: Callable[[Any], Any], notices: Notices) -> str:
    try:
        return plain_text(str(template(given))).strip() if given else ""
    except Exception as error:  # a template can raise anything
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.templates import template_failed

        template_failed("change_key", error, notices)
        return ""
