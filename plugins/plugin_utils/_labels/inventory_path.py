# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the path of an inventory says: ``prod`` of ``inventories/prod/hosts``."""

from __future__ import annotations

import os
from collections.abc import Iterable

ENVIRONMENTS = ("production", "prod", "staging", "stage", "stg", "qa", "uat", "dev")
# Folders that hold one folder or file for each inventory.
_HOLDERS = frozenset({"inventories", "inventory", "environments", "environment", "envs", "env"})
# Names of files and folders that every inventory may have.
_USUAL = _HOLDERS | {"hosts", "inv", "ansible", "etc", "main", "static", "dynamic", "local", "localhost"}
_ENDINGS = (".yml", ".yaml", ".ini", ".json", ".toml", ".py", ".sh", ".cfg", ".txt")
_SHOWN_PARTS = 2


def telling_parts(source: str, folder: str) -> tuple[str, ...]:
    """The parts of an inventory's path that tell it from others; none where no part does.

    :param source: as ansible-core has it: a path, or hosts with commas between them.
    :param folder: where the command was given; above it, a path is that of a machine.
    """
    if "," in source:
        return ()
    path = os.path.abspath(os.path.join(folder, source))
    parts = path.split(os.sep)[1:]
    name, ending = os.path.splitext(parts[-1])
    parts[-1] = name if ending in _ENDINGS else parts[-1]
    holders = [number for number, part in enumerate(parts[:-1]) if part in _HOLDERS]
    below = os.path.relpath(path, folder).split(os.sep)
    if holders:
        parts = parts[holders[-1] + 1 :]
    elif below[0] != os.pardir:
        parts = parts[-len(below) :]
    else:
        parts = [*(part for part in parts[-2:-1] if part in ENVIRONMENTS), parts[-1]]
    return tuple(part for part in parts if part and part not in _USUAL and not part.startswith("."))


def labels_of(sources: Iterable[str], folder: str) -> dict[str, tuple[str, ...]]:
    """The labels ``inventory`` and ``env`` that the paths of a run's inventories give."""
    found = [parts for source in sources if (parts := telling_parts(source, folder))]
    environments = {part for parts in found for part in parts if part in ENVIRONMENTS}
    labels = {
        "inventory": tuple(sorted({"/".join(parts[-_SHOWN_PARTS:]) for parts in found})),
        "env": tuple(sorted(environments)),
    }
    return {label: items for label, items in labels.items() if items}
