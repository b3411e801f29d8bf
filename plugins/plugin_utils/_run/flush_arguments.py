# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a flush needs on its command line; only a warning that advises one loads this."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from ansible import context

from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _operator_variables


def flush_arguments(play: Any, names: Sequence[str]) -> str:
    """What a flush needs on its command line to find a key that these variables name."""
    arguments = context.CLIARGS
    words = [word for source in arguments.get("inventory") or () for word in ("-i", source)]
    # Those that are files alone: one that was written out is a secret.
    files = [each for each in arguments.get("extra_vars") or () if str(each).startswith("@")]
    words += [word for each in files for word in ("-e", each)]
    for option, name in (("--vault-id", "vault_ids"), ("--vault-password-file", "vault_password_files")):
        words += [word for value in arguments.get(name) or () for word in (option, value)]
    words += ["--ask-vault-pass"] if arguments.get("ask_vault_pass") else []
    needed = "".join(f" {shlex.quote(str(word))}" for word in words)
    manager = _operator_variables.manager_without_answers(play.get_variable_manager())
    in_extra = any(name in manager.extra_vars for name in names)
    if (in_extra and files) or (not in_extra and _are_in_inventory(manager, names)):
        return needed
    return " -e flashduty_push_url=PUSH_URL"


def _are_in_inventory(manager: Any, names: Iterable[str]) -> bool:
    """Whether any host has one of the variables from the inventory, not only from a play or a command line.

    :param manager: one of :func:`manager_without_answers`, which is not used any more after this.
    """
    # ansible-core reads the folder of the playbook as well, where that of another playbook would be another one.
    manager.safe_basedir = False
    manager._extra_vars = {}
    hosts = manager._inventory.get_hosts(ignore_limits=True, ignore_restrictions=True)
    for host in _operator_variables.one_of_each_kind(hosts, manager._inventory):
        with suppress(Exception):  # whatever stands in files and templates
            if not set(names).isdisjoint(manager.get_vars(host=host)):
                return True
    return False
