# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Title, description and link as the user's templates make them; where there are none, nothing loads this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.template import Templar

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import plain_text
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _operator_variables
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.files import ReadOnce
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rendering import TRUST_IS_TAGGED, plain
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.syntax import names_in
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.changes import TEXTS, Change
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import host_counts
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.outcome import (
    FailedTask,
    HostStatus,
    Outcome,
    RunResult,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.settings import Settings

RUN_VARIABLE = "flashduty_run"


class PlayTexts:
    """The texts of the changes that come in with one play.

    :param name: the play's name; empty where it has none.
    :param playbook: the playbook's file name.
    :param hosts: the hosts as the first of which the templates see the play's variables.
    :param options: those of the callback, in which the templates are still raw.
    """

    def __init__(
        self, name: str, playbook: str, play: Any, hosts: Sequence[Any], options: Mapping[str, Any], notices: Notices
    ) -> None:
        self._name = name
        self._playbook = playbook
        self._templates = {text: options[text] for text in TEXTS if options.get(text)}
        self._notices = notices
        self._variables = _operator_variables.of_play(
            play, hosts, ReadOnce(play.get_variable_manager(), notices), notices
        )
        self._templar = Templar(loader=play.get_loader(), variables=self._variables)

    @property
    def variable_names(self) -> tuple[str, ...]:
        """The variables that the templates read, as far as their syntax shows."""
        names: set[str] = set()
        for template in self._templates.values():
            names |= (names_in(template) if isinstance(template, str) else None) or frozenset()
        return tuple(sorted(names - {RUN_VARIABLE}))

    def of_event(
        self, settings: Settings, outcome: Outcome, change: Change, status: str, text: str, result: RunResult | None
    ) -> dict[str, str]:
        """The texts of an event of a change, those that there are; the parameters are as those of ``Events.event``."""
        run = self._run_variable(settings, outcome, change, status, text, result)
        return {name: self.rendered(name, run, change.variables) for name in self._templates}

    def rendered(self, text: str, run: Mapping[str, Any], host_values: Mapping[str, Any]) -> str:
        """What the user's template makes; empty where there is none, or where it fails, of which one warning is shown.

        :param text: ``title``, ``description`` or ``link``.
        :param run: the variable ``flashduty_run``.
        :param host_values: values of one host that go before those of the play.
        """
        template = self._templates.get(text)
        if template is None:
            return ""
        self._templar.available_variables = {
            **self._variables,
            **{name: _never_a_template(value) for name, value in host_values.items()},
            RUN_VARIABLE: _never_a_template(run),
        }
        try:
            value = plain(self._templar.template(template))
        except Exception as error:  # a template can raise anything
            template_failed(text, error, self._notices)
            return ""
        return "" if value is None else plain_text(str(value), lines=text == "description").strip()

    def _run_variable(
        self, settings: Settings, outcome: Outcome, change: Change, status: str, text: str, result: RunResult | None
    ) -> dict[str, Any]:
        """The variable ``flashduty_run`` of the templates."""
        where, hosts = settings.where, [*change.hosts]
        at_fault = (HostStatus.FAILED, HostStatus.UNREACHABLE)
        failed = []
        for host in hosts:
            if result is not None and result.hosts[host] in at_fault:
                task = outcome.failures.get(host) or FailedTask(None, "", "", "")
                found = {"host": host, "task": task.name or "", "module": task.module, "path": task.path}
                if settings.options["failure_detail"] == "message":
                    found["message"] = task.message
                failed.append(found)
        return {
            "status": status,
            "change_key": settings.key_of(change.target),
            "scope": settings.scope,
            "target": change.target,
            "text": text,
            "duration": int(change.seconds),
            "hosts": hosts,
            "groups": change.groups,
            "counts": host_counts(result, hosts),
            "failed": failed,
            "check_mode": settings.is_check,
            "play": self._name,
            "playbook": self._playbook,
            "actor": where.actor,
            "controller": where.controller,
            "system": where.system,
            "job": where.job_name or "",
            "job_url": where.job_url or "",
            "branch": where.branch or "",
            "revision": where.revision or "",
        }


def template_failed(option: str, error: Exception, notices: Notices) -> None:
    """Warn, once, that an option has its default value."""
    reason = f"{error}".strip().partition("\n")[0]
    notices.warning("template-failed", subject=option, option=option, why=reason)


def _never_a_template(value: Any) -> Any:
    if TRUST_IS_TAGGED:
        return value
    from ansible.utils.unsafe_proxy import wrap_var

    # Older cores take every text of a variable for a template unless it is marked.
    return wrap_var(value)
