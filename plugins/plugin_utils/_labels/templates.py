# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Templates among the variables of hosts; where there are none, nothing loads this.

A template is worked out once for all hosts that feed it the same inputs. Its inputs are read from its syntax; where
that cannot show them (``hostvars``, most lookups), all variables of the host are asked for, for a limited number of
hosts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.template import Templar

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rendering import (
    MISSING,
    Renderer,
    is_trusted,
    plain,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.syntax import (
    harmless_names,
    names_in,
    substituted,
    words_in,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts import Text


class _LimitReached(Exception):
    """All variables of a host were asked for more often than allowed."""


class Templates:
    """Works out the templates of a renderer."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._templar = Templar(loader=renderer.loader, variables={})
        self._names: dict[tuple[str, bool], frozenset[str] | None] = {}
        self._harmless: dict[str, frozenset[str] | None] = {}
        self._needs_all: set[object] = set()
        self._tried_all: set[object] = set()
        self._host: tuple[str, Mapping[str, Any]] | None = None

    def inputs(self, raw: Any, lookup: Callable[[str], Any], trust_lookups: bool = False) -> dict[str, Any] | None:
        """As :meth:`Renderer.inputs`."""
        found: dict[str, Any] = {}
        pending = [raw]
        while pending:
            for template in self._renderer.templates(pending.pop()):
                key = (template, trust_lookups)
                if key not in self._names:
                    self._names[key] = names_in(*key)
                names = self._names[key]
                if names is None:
                    return None
                for name in names.difference(found):
                    found[name] = lookup(name)
                    if found[name] is not MISSING:
                        pending.append(found[name])
        return found

    def refusal(self, name: str, raw: Any, lookup: Callable[[str], Any]) -> Text | None:
        """Why a variable is no label unless it is asked for, by itself or by what it reads."""
        seen = {name}
        pending = [raw]
        while self._renderer.private.isdisjoint(seen):
            if not pending:
                return None
            for template in self._renderer.templates(pending.pop()):
                if template not in self._harmless:
                    self._harmless[template] = harmless_names(template)
                names = self._harmless[template]
                if names is None:
                    return Text("it needs a lookup that may do more than read", "它需要的 lookup 可能不只是读取")
                pending += [value for name in names - seen if (value := lookup(name)) is not MISSING]
                seen.update(names, self._renderer.private & words_in(template))
        return Text("vars_prompt asks for it without showing it", "其值由 vars_prompt 以不回显方式输入")

    def value(self, name: str, raw: Any, lookup: Callable[[str], Any], host: Any) -> Any:
        """The plain value of what has templates for one host; MISSING beyond the limit.

        :raises Exception: of any type, where a template fails.
        """
        try:
            return self._templated(raw, lookup, host)
        except _LimitReached:
            limit = self._renderer.limit
            self._renderer.notices.warning(
                "label-templates-beyond", "templates beyond the limit", name=name, limit=limit
            )
            return MISSING

    def _templated(self, raw: Any, lookup: Callable[[str], Any], host: Any) -> Any:
        renderer = self._renderer
        identity = renderer.identity(raw)
        inputs = None if identity in self._needs_all else self.inputs(raw, lookup)
        if inputs is None:
            return self._with_all(raw, host)
        if isinstance(raw, str) and is_trusted(raw):
            text = substituted(raw, inputs)
            if text is not None:
                return text
        key = (identity, *((name, renderer.identity(inputs[name])) for name in sorted(inputs)))
        try:
            variables = {name: value for name, value in inputs.items() if value is not MISSING}
            return renderer.once(key, lambda: self._template(raw, variables))
        except Exception:
            if identity in self._tried_all:
                raise
            self._tried_all.add(identity)
            value = self._with_all(raw, host)
            self._needs_all.add(identity)
            return value

    def _with_all(self, raw: Any, host: Any) -> Any:
        if self._host is None or self._host[0] != host.name:
            if self._renderer.asked >= self._renderer.limit:
                raise _LimitReached
            self._renderer.asked += 1
            self._host = (host.name, self._renderer.all_variables(host))
        return self._template(raw, self._host[1])

    def _template(self, raw: Any, variables: Mapping[str, Any]) -> Any:
        self._templar.available_variables = variables
        return plain(self._templar.template(raw))
