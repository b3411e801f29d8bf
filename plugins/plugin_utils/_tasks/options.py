# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a task: its own above those of the callback, of which only what the operator has written counts."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Set
from typing import Any

from ansible.template import Templar

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import (
    DEFAULT_API_URL,
    Connection,
    outbox_url_of,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._operator_variables import manager_without_answers


def of_task(action: Any, task_vars: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Every option as a task sees it; templates among them are left raw.

    :param action: the action plugin.
    :param task_vars: as ansible-core gives them to it.
    :param given: the options of the task itself.
    :raises InvalidConnection: naming the variable or option that cannot be used, and why. The text holds no secret.
    """
    variables = variables_of_task(action._task, task_vars, _options.variable_names())
    template = Templar(loader=action._loader, variables=variables).template
    return with_task_options(_options.resolved(variables, template), given)


def with_task_options(options: Mapping[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a task above all others."""
    chosen = {name: value for name, value in task.items() if not _options.is_empty(value)}
    below = dict(options)
    for names in _options.ALTERNATIVES:
        if any(name in chosen for name in names):
            below.update((name, None) for name in names)
    return {**below, **chosen}


def outbox_of(options: Mapping[str, Any]) -> Connection:
    """A connection without a key, for what needs none: it tells where the shared outbox is.

    :raises InvalidConnection: naming the option and what is wrong with it.
    """
    return _options.registered(Connection(DEFAULT_API_URL, "", outbox_url=outbox_url_of(options)))


def task_host(task_vars: Mapping[str, Any]) -> str:
    """The host that a task's worker works for; the variable ``inventory_hostname`` can be set by a fact."""
    host = getattr(multiprocessing.current_process(), "_host", None)
    return str(task_vars.get("inventory_hostname") if host is None else host.name)


def variables_of_task(task: Any, task_vars: Mapping[str, Any], names: Set[str]) -> Mapping[str, Any]:
    """The variables of a task, as far as the operator has written them.

    :param task_vars: as ansible-core gives them to an action plugin.
    :param names: the variables that are asked for; others may be missing from the answer.
    """
    given = [task_vars[name] for name in names & task_vars.keys()]
    if not given:
        return {}
    manager, host = task.get_variable_manager(), task_host(task_vars)
    if all(_is_plain(value) for value in given) and names.isdisjoint(_answers(manager, host)):
        return task_vars
    found: Mapping[str, Any] = manager_without_answers(manager).get_vars(
        play=task.get_play(), host=manager._inventory.get_host(host), task=task
    )
    return found


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        # What is vaulted may be a template within.
        return "{" not in value and not hasattr(value, "_ciphertext")
    return isinstance(value, (bool, int, float, type(None)))


def _answers(manager: Any, host: str) -> Set[str]:
    """The names of what a host has answered and what tasks have registered or set for it."""
    try:
        facts = manager._fact_cache.get(host) or {}
    except KeyError:
        facts = {}
    return {*facts, *manager._nonpersistent_fact_cache.get(host, {})}
