# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The changes that the callback reports for the running playbook, for the tasks of that playbook.

A forked worker inherits them; an ansible-playbook that a task starts does not, and so never takes them for its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store


class CurrentRun(NamedTuple):
    """The part of a run that the tasks of this process belong to and that one integration gets.

    :ivar run: its id in the outbox.
    :ivar store: where its events are; None where the run is only previewed.
    :ivar change_of: the change that a task of a host without a ``change_key`` joins, as an event of it; None where none
        of that host has begun.
    """

    run: str
    store: Store | None
    change_of: Callable[[str], ChangeEvent | None]


_current: tuple[CurrentRun, ...] = ()


def current_runs() -> tuple[CurrentRun, ...]:
    """The run of this process, where the callback reports one, by the integrations that it reports to."""
    return _current


def set_current_runs(runs: Iterable[CurrentRun]) -> None:
    """Called by the callback alone."""
    global _current
    _current = tuple(runs)
