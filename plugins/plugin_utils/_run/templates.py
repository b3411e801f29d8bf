# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Title, description and link as the user's templates make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.template import Templar

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import plain_text
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _operator_variables
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.files import ReadOnce
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rendering import TRUST_IS_TAGGED, plain
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices

RUN_VARIABLE = "flashduty_run"
_TEXTS = ("title", "description", "link")


class PlayTexts:
    """The texts of the changes that come in with one play.

    :ivar templates: those that the user gave, still raw, by the option that they are.
    :param name: the play's name; empty where it has none.
    :param playbook: the playbook's file name.
    :param hosts: the hosts as the first of which the templates see the play's variables.
    :param options: those of the callback.
    """

    def __init__(
        self, name: str, playbook: str, play: Any, hosts: Sequence[Any], options: Mapping[str, Any], notices: Notices
    ) -> None:
        self.name = name
        self.playbook = playbook
        self.templates = {text: options[text] for text in _TEXTS if options.get(text)}
        self._notices = notices
        if self.templates:
            manager = ReadOnce(play.get_variable_manager(), notices)
            self._variables = _operator_variables.of_play(play, hosts, manager, notices)
            self._templar = Templar(loader=play.get_loader())

    @property
    def variable_names(self) -> tuple[str, ...]:
        """The variables that the templates read, as far as their syntax shows."""
        if not self.templates:
            return ()
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.syntax import names_in

        names: set[str] = set()
        for template in self.templates.values():
            names |= (names_in(template) if isinstance(template, str) else None) or frozenset()
        return tuple(sorted(names - {RUN_VARIABLE}))

    def rendered(self, text: str, run: Mapping[str, Any], host_values: Mapping[str, Any]) -> str:
        """What the user's template makes; empty where there is none, or where it fails, of which one warning is shown.

        :param text: ``title``, ``description`` or ``link``.
        :param run: the variable ``flashduty_run``.
        :param host_values: values of one host that go before those of the play.
        """
        template = self.templates.get(text)
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


def template_failed(option: str, error: Exception, notices: Notices) -> None:
    """Warn, once, that an option has its default value."""
    reason = f"{error}".strip().partition("\n")[0]
    notices.warning(
        f"{option} has its default value, because its template failed: {reason}",
        subject=option,
        chinese=f"{option} 使用默认值，其模板求值失败：{reason}",
    )


def _never_a_template(value: Any) -> Any:
    if TRUST_IS_TAGGED:
        return value
    from ansible.utils.unsafe_proxy import wrap_var

    # Older cores take every text of a variable for a template unless it is marked.
    return wrap_var(value)
