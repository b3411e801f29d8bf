# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a template reads, as its syntax shows it, and the templates that need no engine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes

# Their value depends on more than the names one can read in the template.
_UNREADABLE = frozenset({"hostvars", "vars", "varnames", "ansible_facts"})
_LOOKUPS = frozenset({"lookup", "query", "q"})
# Lookups that see nothing but their arguments.
_READABLE_LOOKUPS = frozenset({"env", "file", "ansible.builtin.env", "ansible.builtin.file"})
# Lookups that read variables which their arguments do not name.
_VARIABLE_LOOKUPS = frozenset(
    f"{collection}{name}" for collection in ("", "ansible.builtin.") for name in ("template", "vars", "varnames")
)
# Lookups that start nothing, write nothing and ask no network.
_HARMLESS_LOOKUPS = frozenset(
    f"{collection}{name}"
    for collection in ("", "ansible.builtin.")
    for name in (
        *("config", "csvfile", "dict", "env", "file", "fileglob", "first_found", "indexed_items", "ini"),
        *("inventory_hostnames", "items", "list", "nested", "random_choice", "sequence", "subelements", "template"),
        *("together", "unvault", "vars", "varnames"),
    )
)
_SYNTAX = Environment()
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BARE_NAME = re.compile(r"\{\{ *([A-Za-z_][A-Za-z0-9_]*) *\}\}")
# Text, such as names and IPv4 addresses, that is no template and that no release of ansible-core takes for a number,
# list or other literal.
_WORD = re.compile(r"[A-Za-z](?:[A-Za-z0-9_.:/@ -]*[A-Za-z0-9])?|[0-9]+(?:\.[0-9]+){3}(?:[:/][0-9]+)?")
_CONSTANTS = frozenset({"True", "False", "None"})


def names_in(template: str, trust_lookups: bool = False) -> frozenset[str] | None:
    """The variables that a template reads, or None where its syntax does not show them.

    :param trust_lookups: whether lookups that we do not know read no variables but those in their arguments.
    """
    if template.startswith("#jinja2:"):
        return None
    try:
        tree = _SYNTAX.parse(template)
    except TemplateSyntaxError:
        return None
    names = [node.name for node in tree.find_all(nodes.Name) if node.ctx == "load"]
    calls = [plugin for call in tree.find_all(nodes.Call) if (plugin := _plugin_of(call))]
    readable = [
        name for name in calls if (name not in _VARIABLE_LOOKUPS if trust_lookups else name in _READABLE_LOOKUPS)
    ]
    if _UNREADABLE.intersection(names) or sum(1 for name in names if name in _LOOKUPS) != len(readable):
        return None
    return frozenset(names) - _LOOKUPS


def harmless_names(template: str) -> frozenset[str] | None:
    """The variables that a template names, or None where it has a lookup that may do more than read."""
    try:
        tree = _SYNTAX.parse(template)
    except TemplateSyntaxError:
        return frozenset()
    names = [node.name for node in tree.find_all(nodes.Name)]
    harmless = sum(1 for call in tree.find_all(nodes.Call) if _plugin_of(call) in _HARMLESS_LOOKUPS)
    return frozenset(names) if sum(1 for name in names if name in _LOOKUPS) == harmless else None


def words_in(template: str) -> Set[str]:
    """What may be names in a template, also within its texts, as in ``vars["owner"]``."""
    return {*_NAME.findall(template)}


def _plugin_of(call: nodes.Call) -> str:
    """The lookup plugin that a call asks; empty where it is no such call, or does not name it."""
    if isinstance(call.node, nodes.Name) and call.node.name in _LOOKUPS and call.args:
        plugin = call.args[0]
        return str(plugin.value) if isinstance(plugin, nodes.Const) else ""
    return ""


def substituted(template: str, inputs: Mapping[str, Any]) -> str | None:
    """The most usual templates, names between text, without a template engine: some hundred times faster.

    :param template: one that may be worked out.
    :returns: None for every other template, and wherever the result could be anything but that very text.
    """
    if hasattr(template, "__UNSAFE__"):
        return None
    parts = _BARE_NAME.split(template)
    for number in range(1, len(parts), 2):
        value = inputs.get(parts[number])
        if isinstance(value, str) and _WORD.fullmatch(value):
            parts[number] = value
        elif isinstance(value, int) and not isinstance(value, bool):
            parts[number] = str(value)
        else:
            return None
    text = "".join(parts)
    return text if _WORD.fullmatch(text) and text not in _CONSTANTS else None
