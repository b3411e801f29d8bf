# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From raw variables to plain Python values: vaulted and tagged values here, templates in :mod:`.templates`."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, Final

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.templates import Templates

try:
    from ansible.template import is_trusted_as_template
except ImportError:  # ansible-core 2.18 and older mark what is unsafe instead, by its type
    is_trusted_as_template = None

TRUST_IS_TAGGED = is_trusted_as_template is not None
MISSING: Final[Any] = object()

_MARKS = ("{{", "{%", "{#")
# ansible-core 2.18 and older: what `default(omit)` leaves behind.
_OMITTED = "__omit_place_holder__"


def is_trusted(value: object) -> bool:
    """Whether ansible-core takes a text for a template, if it looks like one."""
    return is_trusted_as_template is None or bool(is_trusted_as_template(value))


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

    :ivar asked: how often all variables of a host were asked for.
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
        self.loader = loader
        self.all_variables = all_variables
        self.limit = limit
        self.private = private
        self.asked = 0
        self.notices = notices
        self._careful = careful
        self._texts: dict[int, tuple[str, ...]] = {}
        self._results: dict[object, Any] = {}
        # Identities are keys above, so what they identify must stay alive.
        self._kept: dict[int, Any] = {}

    @functools.cached_property
    def _of_templates(self) -> Templates:
        # Loaded where there is a template.
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.templates import Templates

        return Templates(self)

    def inputs(self, raw: Any, lookup: Callable[[str], Any], trust_lookups: bool = False) -> dict[str, Any] | None:
        """The variables that a raw value reads, directly or through others, with their raw values.

        :param trust_lookups: as that of :func:`.syntax.names_in`.
        :returns: None where the templates do not show them.
        """
        return self._of_templates.inputs(raw, lookup, trust_lookups) if self.templates(raw) else {}

    def render(self, name: str, raw: Any, lookup: Callable[[str], Any], host: Any) -> Any:
        """The plain value of a variable for one host, or MISSING where it fails.

        A map is worked out entry by entry: one that fails is left out alone.

        :param lookup: gives the raw value of any variable of that host, or MISSING.
        """
        if name in self._careful and (name in self.private or self.templates(raw)):
            refusal = self._of_templates.refusal(name, raw, lookup)
            if refusal is not None:
                self.notices.warning("label-refused", subject=f"refused: {name}", name=name, why=refusal)
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

    def _value(self, name: str, raw: Any, lookup: Callable[[str], Any], host: Any) -> Any:
        try:
            if not self.templates(raw):
                return self.once(self.identity(raw), lambda: plain(raw))
            return self._of_templates.value(name, raw, lookup, host)
        except Exception as error:
            first_line = f"{type(error).__name__}: {error}".splitlines()[0]
            self.notices.debug(f"labels: {name} of {host} is left out, {first_line}", subject=f"fails: {name}")
        return MISSING

    def once(self, key: object, make: Callable[[], Any]) -> Any:
        """What ``make`` returns or raises, which it is asked for once."""
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
            return (type(value), is_trusted(value), value)
        if _is_vaulted(value):
            return (type(value), value._ciphertext)
        self._kept[id(value)] = value
        return id(value)

    def templates(self, value: Any) -> tuple[str, ...]:
        """The templates that the value is or has within it, as far as they look like ones."""
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
            self._texts[id(value)] = tuple(text for item in items for text in self.templates(item))
        return self._texts[id(value)]
