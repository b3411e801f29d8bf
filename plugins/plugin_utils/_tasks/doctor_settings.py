# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the doctor says of settings: names that nothing reads, and reports that are turned off."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ansible import constants as C  # noqa: N812

from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.finding import Found

_PREFIX, _VARIABLE_PREFIX, _SECTION = "FLASHDUTY_", "flashduty_", "callback_flashduty_change"


def unknown_names(variables: Collection[str]) -> Iterator[Found]:
    """What looks like a setting of ours and is none.

    :param variables: the names of the variables that a task sees.
    """
    options = C.config.get_configuration_definitions("callback", _options.configured_name()).values()
    environment = {entry["name"] for option in options for entry in option.get("env", ())}
    for name in sorted(name for name in os.environ if name.startswith(_PREFIX) and name not in environment):
        yield _unknown("environment-unknown", name, environment)
    keys = {entry["key"] for option in options for entry in option.get("ini", ())}
    for key in sorted(_keys_of_section(C.CONFIG_FILE) - keys):
        yield _unknown("ini-unknown", key, keys, section=_SECTION, file=C.CONFIG_FILE)
    known = _options.variable_names()
    for name in sorted(name for name in variables if name.startswith(_VARIABLE_PREFIX) and name not in known):
        # A playbook has variables of its own, so only what was most likely meant for one of ours.
        if difflib.get_close_matches(name, known, 1, cutoff=0.85):
            yield _unknown("variable-unknown", name, known)


def configured_origins() -> dict[str, str]:
    """Where each option of the callback comes from that the environment or ansible.cfg sets, in a user's words.

    That of ``enabled`` starts with ``off`` where it is false.
    """
    found = {}
    for option, definition in _options.all_definitions().items():
        value, origin = _options.configured(option, definition, {})
        if value is not None and str(origin) != "default":
            off = "off " if option == "enabled" and not value else ""
            found[option] = off + origin_in_words(origin)
    return found


def origin_in_words(origin: Any) -> str:
    """Where ansible-core has a value from, in a user's words."""
    text = str(origin)
    if text == "default":
        return "the defaults"
    return f"the environment variable {text[5:]}" if text.startswith("env:") else text


def turned_off(options: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Found]:
    """Why nothing is reported although the callback is enabled.

    :param origins: where each option comes from, in a user's words.
    """
    # The variable is that of the doctor's own play, which is no change to report.
    enabled = origins.get("enabled", "")
    if enabled.startswith("off "):
        yield Found("reports-off", origin=enabled[4:])
    if options.get("preview"):
        yield Found("preview", origin=origins.get("preview", "the task"))


def _unknown(kind: str, name: str, known: Collection[str], **where: Any) -> Found:
    # What all of them begin with would make any two alike.
    short = {each.removeprefix(_PREFIX): each for each in known}
    (nearest,) = difflib.get_close_matches(name.removeprefix(_PREFIX), short, 1, cutoff=0.6) or [""]
    kind = kind if nearest else kind.replace("-unknown", "-unheard-of")
    return Found(kind, name=name, nearest=short.get(nearest), **where)


def _keys_of_section(path: str | None) -> set[str]:
    parser = _options.config_file(path)
    return {*parser.options(_SECTION)} - {*parser.defaults()} if parser.has_section(_SECTION) else set()
