# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where events go when the outbox cannot be used: full or read-only disk, no permission, locked, of a newer version.

Private to this collection; may change in any release.

Each outbox has spare ones in folders for temporary files, which couriers and flush look into as well.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_file import OutboxError, salt_of
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process

# In memory, so that a full disk leaves it alone.
_MEMORY = "/dev/shm"
# Seconds that an ansible process waits for other writers before it turns to a spare outbox.
_PATIENCE = 5.0

_Answer = TypeVar("_Answer")


class Stored(Generic[_Answer]):
    """What :func:`store` did.

    :ivar folder: the outbox that was used.
    :ivar integration: how that outbox knows the integration.
    :ivar answer: what the action returned.
    :ivar notice: what to tell the user; None where there is nothing to tell.
    """

    # No dataclass: their import takes longer than all of this room.
    def __init__(self, folder: str, integration: str, answer: _Answer, notice: str | None) -> None:
        self.folder = folder
        self.integration = integration
        self.answer = answer
        self.notice = notice


def store(
    wanted: str, connection: Connection, action: Callable[[Outbox, str], _Answer], first: str | None = None
) -> Stored[_Answer]:
    """Do something with the outbox in the folder, or with a spare one where that one cannot be used.

    :param wanted: the outbox's folder.
    :param first: the folder to try first, since earlier events of the same change are there; None for the wanted one.
    :param action: gets the outbox and the integration's id in it. It is called again when it failed half-way.
    :raises OutboxError: where no outbox can be used at all.
    """
    first = first or wanted
    try:
        return _done(first, connection, action)
    except OutboxError as error:
        for folder in dict.fromkeys((wanted, *_spare_folders(wanted))):
            if folder == first:
                continue
            try:
                if folder != wanted:
                    _claim(folder)
                done = _done(folder, connection, action)
            except (OSError, OutboxError):
                continue
            notice = (
                f"the outbox cannot be used ({error}); {folder} is used instead, which may not survive a restart of"
                " this machine. Mend it, or set state_dir to a folder that can be written"
            )
            return Stored(done.folder, done.integration, done.answer, notice)
        raise


def _done(folder: str, connection: Connection, action: Callable[[Outbox, str], _Answer]) -> Stored[_Answer]:
    integration = connection.integration_id(salt_of(folder))
    with Outbox(folder, patience=_PATIENCE) as outbox:
        answer, set_aside = action(outbox, integration), outbox.set_aside
    notice = None
    if set_aside is not None:
        notice = f"the outbox was damaged; it is kept as {set_aside}, and what could be read of it goes on in a new one"
    return Stored(folder, integration, answer, notice)


def folders(wanted: str) -> list[str]:
    """The folders that hold an outbox: the wanted one, and its spare ones."""
    return [folder for folder in (wanted, *_spare_folders(wanted)) if Outbox.exists(folder) and _is_ours(folder)]


def close_vanished_runs(wanted: str, connection: Connection, but: str | None = None) -> int:
    """Cancel what runs left open that have gone without a word.

    :param but: a run to leave alone.
    :returns: how many changes were cancelled.
    :raises OutboxError: where an outbox cannot be used.
    """
    vanished = [(folder, run) for folder, run in vanished_runs(wanted, connection) if run != but]
    return sum(close_vanished_run(wanted, folder, connection, run, None, None) for folder, run in vanished)


def vanished_runs(wanted: str, connection: Connection) -> list[tuple[str, str]]:
    """The runs that have gone without a word: the folder of the outbox in which each began, and its id."""
    found = []
    for folder in folders(wanted):
        with Outbox(folder) as outbox:
            found += [(folder, run) for run in outbox.vanished_runs(connection.integration_id(outbox.salt))]
    return found


def close_vanished_run(
    wanted: str, folder: str, connection: Connection, run: str, event_time: float | None, text: str | None
) -> int:
    """Cancel what a run left open that has gone without a word.

    :param folder: the outbox in which it began.
    :param event_time: when it was last known to be there, Unix seconds; None for its last sign of life.
    :param text: the description of the Canceled events; None for the one given when the run began.
    :returns: how many changes were cancelled; 0 where the run had been closed.
    :raises OutboxError: where no outbox can be used.
    """
    if ended_elsewhere(wanted, folder, run):
        with Outbox(folder, patience=_PATIENCE) as outbox:
            outbox.close_run(run, connection.integration_id(outbox.salt), [])
        return 0
    try:
        with Outbox(folder, patience=_PATIENCE) as outbox:
            return outbox.close_vanished_run(run, event_time, text)
    except OutboxError:
        canceled = _read(folder, lambda outbox: outbox.canceled_events(run, event_time, text))
        if canceled:
            close_run(wanted, folder, connection, run, canceled)
        return len(canceled)


def close_run(
    wanted: str, folder: str, connection: Connection, run: str, events: Sequence[ChangeEvent]
) -> Stored[bool]:
    """Record that a run has ended, in a spare outbox where its own cannot be written.

    :param folder: the outbox in which it began.
    :raises OutboxError: where no outbox can be used.
    """
    unsent: list[ChangeEvent] = []

    def action(outbox: Outbox, integration: str) -> bool:
        if outbox.folder != folder:
            unsent[:] = unsent_events(folder, run)
        return outbox.close_run(run, integration, [*unsent, *events])

    return store(wanted, connection, action, first=folder)


def unsent_events(folder: str, run: str) -> list[ChangeEvent]:
    """The events of a run that are not settled; none where its outbox cannot even be read."""
    return _read(folder, lambda outbox: outbox.unsent_events(run))


class Opened(NamedTuple):
    """Where a change was opened: the outbox's folder, and the run that it belongs to."""

    folder: str
    run: str


def opened_in(wanted: str, connection: Connection, process: Process, change_key: str) -> Opened | None:
    """Where a process has a change open; None where it has not, or that cannot be read."""

    def found_in(folder: str, outbox: Outbox) -> list[Opened]:
        run = outbox.open_run_with(connection.integration_id(outbox.salt), process, change_key)
        return [] if run is None else [Opened(folder, run)]

    found = (each for folder in folders(wanted) for each in _read(folder, partial(found_in, folder)))
    return next(found, None)


def _read(folder: str, query: Callable[[Outbox], list[_Answer]]) -> list[_Answer]:
    """The answer of an outbox that cannot be written, but perhaps be read."""
    for alone in (False, True):
        try:
            with Outbox(folder, patience=_PATIENCE, create=False, alone=alone) as outbox:
                return query(outbox)
        except OutboxError:
            continue
    return []


def ended_elsewhere(wanted: str, folder: str, run: str) -> bool:
    """Whether the end of a run was stored in another outbox than the one in the folder, in which it began."""
    return any(_ended_in(other, run) for other in folders(wanted) if other != folder)


def _ended_in(folder: str, run: str) -> bool:
    try:
        with Outbox(folder, create=False) as outbox:
            return outbox.run_is_closed(run)
    except OutboxError:
        return False


def _spare_folders(wanted: str) -> list[str]:
    own = hashlib.sha256(os.path.realpath(wanted).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    roots = dict.fromkeys((tempfile.gettempdir(), *([_MEMORY] if os.path.isdir(_MEMORY) else [])))
    return [os.path.join(root, f"flashduty-{os.getuid()}", own) for root in roots]


def _claim(spare: str) -> None:
    """Make the folder, which anybody else could have made before."""
    parent = os.path.dirname(spare)
    os.makedirs(parent, mode=0o700, exist_ok=True)
    if not _is_private(parent):
        raise OutboxError(f"{parent}: it belongs to somebody else, or others may write to it")
    os.makedirs(spare, mode=0o700, exist_ok=True)


def _is_ours(folder: str) -> bool:
    parent = os.path.dirname(folder)
    try:
        return os.path.basename(parent) != f"flashduty-{os.getuid()}" or _is_private(parent)
    except OSError:  # it has just been removed
        return False


def _is_private(folder: str) -> bool:
    state = os.lstat(folder)
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o077
