# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From raw variables to plain Python values: templates, vaulted and tagged values.

A template is worked out once for all hosts that feed it the same inputs. Its inputs are read from its syntax; where
that cannot show them (``hostvars``, most lookups), all variables of the host are asked for, for a limited number of
hosts.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Final

from ansible.template import Templar

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts import Text

try:
    from ansible.template import is_trusted_as_template as _is_trusted
except ImportError:  # ansible-core 2.18 and older mark what is unsafe instead, by its type
    TRUST_IS_TAGGED = False

    def _is_trusted(value: object) -> bool:
        return True

else:
    TRUST_IS_TAGGED = True

MISSING: Final[Any] = object()

_MARKS = ("{{", "{%", "{#")
# ansible-core 2.18 and older: what `default(omit)` leaves behind.
_OMITTED = "__omit_place_holder__"


class LimitReached(Exception):
    """All variables of a host were asked for more often than allowed."""


def plain(value: Any) -> Any:
    """The value with built-in types only: str, int, float, bool, None, list, dict.

    :raises TypeError: for a value of a type that YAML, JSON and templates do not make.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        # str() may keep a subclass; its own method does not.
        text = str.__str__(value)
        return None if text.startswith(_OMITTED) else text
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if _is_vaulted(value) or isinstance(value, datetime.date):
        return str.__str__(str(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (Sequence, Set)):
        return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} is not a value that a variable can have")


def _is_vaulted(value: Any) -> bool:
    # The class differs between releases of ansible-core and is a Sequence in some; this attribute is in all.
    return hasattr(value, "_ciphertext")


class Renderer:
    """Turns raw variables of many hosts into plain values.

    :param loader: the play's data loader.
    :param all_variables: gives all variables of a host, which is slow.
    :param limit: how many hosts may be asked for all their variables.
    :param careful: variables whose lookups are not run that may do more than read: nobody has asked for them.
    :param private: variables that these may not read, nor be: the play asks for them privately.
    """

    def __init__(
        self,
        loader: Any,
        all_variables: Callable[[Any], Mapping[str, Any]],
        limit: int,
        notices: Notices,
        careful: Set[str] = frozenset(),
        private: Set[str] = frozenset(),
    ) -> None:
        self._careful = careful
        self._private = private
        self._harmless: dict[str, frozenset[str] | None] = {}
        self._all_variables = all_variables
        self._left = limit
        #: How often all variables of a host were asked for.
        self.asked = 0
        self._limit = limit
        self._notices = notices
        self._templar = Templar(loader=loader, variables={})
        self._names: dict[tuple[str, bool], frozenset[str] | None] = {}
        self._texts: dict[int, tuple[str, ...]] = {}
        self._results: dict[object, Any] = {}
        # Identities are keys below, so what they identify must stay alive.
        self._kept: dict[int, Any] = {}
        self._needs_all: set[object] = set()
        self._tried_all: set[object] = set()
        self._host: tuple[str, Mapping[str, Any]] | None = None

    def has_template(self, raw: Any) -> bool:
        """Whether the value, or one within it, looks like a template."""
        return bool(self._templates(raw))

    def inputs(self, raw: Any, lookup: Callable[[str], Any], trust_lookups: bool = False) -> dict[str, Any] | None:
        """The variables that a raw value reads, directly or through others, with their raw values.

        :param trust_lookups: as that of :func:`.syntax.names_in`.
        :returns: None where the templates do not show them.
        """
        found: dict[str, Any] = {}
        pending = [raw]
        while pending:
            for template in self._templates(pending.pop()):
                key = (template, trust_lookups)
                if key not in self._names:
                    # Loaded where there is a template.
                    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.syntax import names_in

                    self._names[key] = names_in(*key)
                names = self._names[key]
                if names is None:
                    return None
                for name in names.difference(found):
                    found[name] = lookup(name)
                    if found[name] is not MISSING:
                        pending.append(found[name])
        return found

    def render(self, name: str, raw: Any, lookup: Callable[[str], Any], host: Any) -> Any:
        """The plain value of a variable for one host, or MISSING where it fails.

        A map is worked out entry by entry: one that fails is left out alone.

        :param lookup: gives the raw value of any variable of that host, or MISSING.
        """
        refusal = self._refusal(name, raw, lookup) if name in self._careful else None
        if refusal is not None:
            self._notices.warning("label-refused", subject=f"refused: {name}", name=name, why=refusal)
            return MISSING
        if not isinstance(raw, Mapping):
            return self._value(name, raw, lookup, host)
        entries = {str(plain(key)): self._value(f"{name}.{key}", raw[key], lookup, host) for key in raw}
        return {key: value for key, value in entries.items() if value is not MISSING}

    def compared(self, _name: str, raw: Any, lookup: Callable[[str], Any], _host: Any) -> object:
        """What hosts share for which a raw value, which is not worked out, gives the same."""
        inputs = self.inputs(raw, lookup)
        if inputs is None:
            # What a lookup gives may depend on anything; hosts in the same groups are taken for alike.
            return (self.identity(raw), tuple(lookup("group_names") or ()))
        return (self.identity(raw), *((name, self.identity(inputs[name])) for name in sorted(inputs)))

    def _refusal(self, name: str, raw: Any, lookup: Callable[[str], Any]) -> Text | None:
        """Why a variable is no label unless it is asked for, by itself or by what it reads."""
        seen = {name}
        pending = [raw]
        while self._private.isdisjoint(seen):
            if not pending:
                return None
            for template in self._templates(pending.pop()):
                from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.syntax import (
                    harmless_names,
                    words_in,
                )

                if template not in self._harmless:
                    self._harmless[template] = harmless_names(template)
                names = self._harmless[template]
                if names is None:
                    return Text("it needs a lookup that may do more than read", "它需要的 lookup 可能不只是读取")
                pending += [value for name in names - seen if (value := lookup(name)) is not MISSING]
                seen.update(names, self._private & words_in(template))
        return Text("vars_prompt asks for it without showing it", "其值由 vars_prompt 以不回显方式输入")

    def _value(self, name: str, raw: Any, lookup: Callable[[str], Any], host: Any) -> Any:
        try:
            if not self._templates(raw):
                return self._once(self.identity(raw), lambda: plain(raw))
            return self._templated(raw, lookup, host)
        except LimitReached:
            self._notices.warning("label-templates-beyond", "templates beyond the limit", name=name, limit=self._limit)
        except Exception as error:
            first_line = f"{type(error).__name__}: {error}".splitlines()[0]
            self._notices.debug(f"labels: {name} of {host} is left out, {first_line}", subject=f"fails: {name}")
        return MISSING

    def _templated(self, raw: Any, lookup: Callable[[str], Any], host: Any) -> Any:
        identity = self.identity(raw)
        inputs = None if identity in self._needs_all else self.inputs(raw, lookup)
        if inputs is None:
            return self._with_all(raw, host)
        if isinstance(raw, str) and _is_trusted(raw):
            from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.syntax import substituted

            text = substituted(raw, inputs)
            if text is not None:
                return text
        key = (identity, *((name, self.identity(inputs[name])) for name in sorted(inputs)))
        try:
            variables = {name: value for name, value in inputs.items() if value is not MISSING}
            return self._once(key, lambda: self._template(raw, variables))
        except Exception:
            if identity in self._tried_all:
                raise
            self._tried_all.add(identity)
            value = self._with_all(raw, host)
            self._needs_all.add(identity)
            return value

    def _with_all(self, raw: Any, host: Any) -> Any:
        if self._host is None or self._host[0] != host.name:
            if self._left <= 0:
                raise LimitReached
            self._left -= 1
            self.asked += 1
            self._host = (host.name, self._all_variables(host))
        return self._template(raw, self._host[1])

    def _template(self, raw: Any, variables: Mapping[str, Any]) -> Any:
        self._templar.available_variables = variables
        return plain(self._templar.template(raw))

    def _once(self, key: object, make: Callable[[], Any]) -> Any:
        if key not in self._results:
            try:
                self._results[key] = make()
            except Exception as error:
                self._results[key] = error
        result = self._results[key]
        if isinstance(result, Exception):
            raise result
        return result

    def identity(self, value: Any) -> object:
        """A key that equal values share."""
        if value is None or isinstance(value, (str, int, float)):
            return (type(value), _is_trusted(value), value)
        if _is_vaulted(value):
            return (type(value), value._ciphertext)
        self._kept[id(value)] = value
        return id(value)

    def _templates(self, value: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            marked = "{" in value and any(mark in value for mark in _MARKS)
            return (value,) if marked or value.startswith("#jinja2:") else ()
        if not isinstance(value, (Mapping, Sequence)) or _is_vaulted(value):
            return ()
        if id(value) not in self._texts:
            self._kept[id(value)] = value
            # A value that holds itself (YAML anchors can make one) must not be walked for ever.
            self._texts[id(value)] = ()
            items = value.values() if isinstance(value, Mapping) else value
            self._texts[id(value)] = tuple(text for item in items for text in self._templates(item))
        return self._texts[id(value)]
