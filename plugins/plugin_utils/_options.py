# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the callback, resolved alike for both doors: variables, then the environment, then ansible.cfg.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from ansible import constants as C  # noqa: N812
from ansible.plugins.loader import callback_loader

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import KEY_OPTIONS

CALLBACK = "flashcat.flashduty.flashduty_change"
_NAMES = (CALLBACK, "ansible_collections.flashcat.flashduty.plugins.callback.flashduty_change")
_LEVELS = ("var", "env", "ini", "default")


def resolved(variables: Mapping[str, Any], template: Callable[[Any], Any]) -> dict[str, Any]:
    """Every option of the callback.

    :param variables: the variables of a play or task, as Ansible holds them.
    :param template: renders one of them.
    """
    plugin = _configured_name()
    definitions = C.config.get_configuration_definitions("callback", plugin)
    names = {entry["name"] for option in definitions.values() for entry in option.get("vars", ())}
    given = {name: _plain(template(variables[name])) for name in sorted(names & set(variables))}
    options, levels = {}, {}
    for option in definitions:
        value, origin = C.config.get_config_value_and_origin(
            option, plugin_type="callback", plugin_name=plugin, variables=given
        )
        options[option], levels[option] = value, _level(str(origin))
    _keep_nearest_key(options, levels)
    return options


def state_dir(options: Mapping[str, Any]) -> str:
    """The folder that holds the outbox."""
    return os.path.expanduser(str(options.get("state_dir") or os.path.join(C.ANSIBLE_HOME, "flashduty")))


def with_task_options(options: Mapping[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a task above all others."""
    chosen = {name: value for name, value in task.items() if value is not None}
    below = dict(options)
    if any(name in chosen for name in KEY_OPTIONS):
        below.update((name, None) for name in KEY_OPTIONS)
    return {**below, **chosen}


def _configured_name() -> str:
    """The name under which ansible-core has filed the callback's options, which it loads with the callback."""
    for _attempt in range(2):
        for name in _NAMES:
            if C.config.has_configuration_definition("callback", name):
                return name
        callback_loader.get(CALLBACK, class_only=True)
    raise LookupError(f"ansible-core does not know the options of {CALLBACK}")


def _plain(value: Any) -> Any:
    # What a vault held is no str on older cores.
    return value if isinstance(value, (str, bool, int, float, list, tuple, Mapping, type(None))) else str(value)


def _level(origin: str) -> str:
    found = origin.split(":", 1)[0]
    return found if found in _LEVELS else "ini"


def _keep_nearest_key(options: dict[str, Any], levels: Mapping[str, str]) -> None:
    """Of several ways to name the integration, the one that stands nearest decides alone."""
    nearest = min((_LEVELS.index(levels[name]) for name in KEY_OPTIONS if options.get(name)), default=None)
    for name in KEY_OPTIONS:
        if nearest is not None and _LEVELS.index(levels[name]) != nearest:
            options[name] = None
