# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store of one integration on this control node: the outbox, or the spool while that cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import (
    OutboxError,
    again_when_damaged,
    require_sqlite,
    salt_of,
    set_aside_in,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.folders import own_folder, spool_folders
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process

_Answer = TypeVar("_Answer")


class Store:
    """Opens the outbox for one thing at a time.

    :ivar configured: the folder of the outbox; this user's own below that which is configured, where several share it.
    :ivar folder: the folder of what is used now.
    :ivar connection: reaches the integration.
    :param process: the process whose runs go on in the spool; None where this one has none.
    :param only_look: whether nothing may be written, so that what lies in the spool stays there.
    """

    def __init__(
        self, configured: str, connection: Connection, process: Process | None = None, only_look: bool = False
    ) -> None:
        self.configured = own_folder(configured)
        self.folder = self.configured
        self.connection = connection
        self._process = process
        self._only_look = only_look
        self._notices: list[tuple[str, Mapping[str, Any]]] = []
        self._set_aside: dict[str, set[str]] = {}

    @property
    def integration(self) -> str:
        """How the outbox that is used now knows the integration.

        :raises OutboxError: where its folder can be neither read nor made.
        """
        return self.connection.integration_id(self.salt)

    @property
    def salt(self) -> bytes:
        """What integration keys are hashed with in what is used now.

        :raises OutboxError: where it can be neither read nor made.
        """
        return salt_of(self.folder)

    @property
    def exists(self) -> bool:
        """Whether there is an outbox, or a spool."""
        return Outbox.exists(self.configured) or bool(Outbox.spools(self.configured))

    def take_notices(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The warnings about the outbox since the last call, as :meth:`Notices.warning` takes them."""
        taken, self._notices = self._notices, []
        return taken

    def do(self, action: Callable[[Outbox], _Answer]) -> _Answer:
        """Do something with the outbox, or with the spool where that cannot be used; it is used from then on.

        :param action: is called again when it failed half-way.
        :raises OutboxError: where neither can be used.
        """
        require_sqlite()  # without which a spool is of no use either
        self._choose()
        try:
            return self._done(action)
        except OutboxError as error:
            if self.folder != self.configured or not self._turn_to_the_spool(error):
                raise
        return self._done(action)

    def look(self, query: Callable[[Outbox], _Answer]) -> _Answer:
        """Ask what is used now something.

        :raises OutboxError: where there is none, or it cannot be read.
        """
        with self.opened() as outbox:
            return query(outbox)

    def opened(self, before: Outbox | None = None) -> Outbox:
        """What is used now, for a caller that looks into it again and again.

        :param before: what this returned before; it is closed where it is not used any more.
        :raises OutboxError: where there is none, or it cannot be read.
        """
        self._choose()
        return self._opened(before, durable=True)

    def opened_for_sending(self, before: Outbox | None = None) -> Outbox:
        """The outbox, or the spool that it could not take in: what lies there is newer.

        It is not synced to the disk at each step: what a power cut could undo is merely sent again.

        :param before: what this returned before; it is closed where it is not used any more.
        :raises OutboxError: where there is none, or it cannot be used.
        """
        left = self.take_in()
        self.folder = left[0] if left else self.configured
        return self._opened(before, durable=False)

    def _opened(self, before: Outbox | None, durable: bool) -> Outbox:
        if before is not None and before.folder == self.folder:
            return before
        if before is not None:
            before.close()
        return Outbox(self.folder, self.connection, durable=durable, create=False)

    def take_in(self) -> list[str]:
        """Take what lies in the spool into the outbox; returns the folders of what the outbox could not take."""
        left = []
        for folder in Outbox.spools(self.configured) if not self._only_look else ():
            from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox import spool

            try:
                spool.take_in(folder, self.configured, self.connection)
            except (OSError, OutboxError):  # the next process that opens the outbox tries again
                left += [folder] if Outbox.exists(folder) else []
        return left

    def _choose(self) -> None:
        if self.folder != self.configured and not Outbox.exists(self.folder):
            # Somebody has taken it in.
            self.folder = self.configured
        if self.folder == self.configured:
            self.take_in()

    @again_when_damaged
    def _done(self, action: Callable[[Outbox], _Answer]) -> _Answer:
        known = self._set_aside.setdefault(self.folder, set_aside_in(self.folder))
        with Outbox(self.folder, self.connection) as outbox:
            answer = action(outbox)
            outbox.remember(self.connection.api_url)
        # The courier may have met the damage first, and has nobody to warn.
        for path in sorted(set_aside_in(self.folder) - known):
            known.add(path)
            self._notices.append(("outbox-damaged", {"path": path}))
        return answer

    def _turn_to_the_spool(self, error: OutboxError) -> bool:
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox import spool

        # What is in use goes on being used, also where a better place has become usable since.
        for folder in dict.fromkeys([*Outbox.spools(self.configured), *spool_folders(self.configured)]):
            try:
                spool.make(folder, self.configured, self.connection, self._process)
            except (OSError, OutboxError):
                continue
            self.folder = folder
            self._notices.append(("outbox-spool", {"why": error, "folder": folder}))
            return True
        return False
