# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The outbox, open for one integration: its events, its runs, and the claims of those who send."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, TypeVar

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import FILE_NAME, Database, salt_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import Events, PutResult
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.folders import is_private, spool_folders
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import SILENT_AFTER, Runs, Watch

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claims
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.integrations import Integrations
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.sql import SqlDatabase

_Self = TypeVar("_Self", bound="AnyOutbox")


class AnyOutbox:
    """An open outbox, a node's or the shared one: the rules for what is in it.

    :param integration: which one it is open for: :meth:`Connection.integration_id`.
    :param silent_after: seconds after which a run of another machine or container is taken for vanished.
    :param node: who sends, where several nodes share the outbox.
    """

    def __init__(
        self, database: SqlDatabase, integration: str, silent_after: float = SILENT_AFTER, node: str = ""
    ) -> None:
        self.database = database
        self.integration = integration
        self.node = node
        self.events = Events(database, integration)
        self.runs = Runs(database, integration, silent_after)
        self._silent_after = silent_after

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def of(self, integration: str) -> AnyOutbox:
        """The same for another integration."""
        return AnyOutbox(self.database, integration, self._silent_after, self.node)

    @functools.cached_property
    def claims(self) -> Claims:
        """For those who send: the start of a run does not load it."""
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claims

        return Claims(self.database, self.integration, self.node)

    @functools.cached_property
    def integrations(self) -> Integrations:
        """What concerns all integrations: the start of a run does not load it."""
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.integrations import Integrations

        return Integrations(self)

    def remember(self, api_url: str) -> None:
        """Keep the address that the integration reports to."""
        values = (self.integration, api_url)
        if not self.database.rows("SELECT 1 FROM integrations WHERE id = ? AND api_url = ?", values):
            with self.database.writing() as transaction:
                transaction.execute(
                    "INSERT INTO integrations (id, api_url) VALUES (?, ?)"
                    " ON CONFLICT (id) DO UPDATE SET api_url = excluded.api_url",
                    values,
                )

    def put(
        self,
        event: ChangeEvent,
        run: str | Watch | None = None,
        force: bool = False,
        expires_at: float | None = None,
        lease: float | None = None,
    ) -> PutResult:
        """Store an event, unless the last one of its change says the same.

        :param event: its ``event_time`` is compared only where it has one.
        :param run: the run that closes this change should it vanish; or the process after whose end it is closed, whose
            run is found or opened here.
        :param force: store it in any case.
        :param expires_at: Unix seconds after which it is not worth sending any more; None keeps it for ever.
        :param lease: seconds for which the caller claims, as it sends itself, so that nobody else gets between; None
            where others send.
        :raises OutboxError: where it could not be stored.
        """
        with self.database.writing() as transaction:
            if isinstance(run, Watch):
                run = self.runs.of_event(transaction, event, run)
            result = self.events.put(transaction, event, run, force, expires_at)
            if lease is not None:
                result = result._replace(claim=self.claims.claim_first(transaction, event.change_key, lease))
            return result


class Outbox(AnyOutbox):
    """The outbox in a folder. Open it late, close it early, and never carry it across a fork.

    The parameters and errors are those of :class:`Database`, but for the connection, which names the integration.
    """

    database: Database

    def __init__(
        self,
        folder: str,
        connection: Connection,
        durable: bool = True,
        patience: float | None = None,
        create: bool = True,
    ) -> None:
        self.folder = folder
        database = Database(folder, durable, patience, create)
        try:
            super().__init__(database, connection.integration_id(salt_of(folder)))
        except BaseException:
            database.close()
            raise

    @staticmethod
    def exists(folder: str) -> bool:
        """Whether there is an outbox in the folder."""
        return os.path.exists(os.path.join(folder, FILE_NAME))

    @staticmethod
    def spools(configured: str) -> list[str]:
        """The folders in which there is a spool of the outbox in ``configured``."""
        folders = spool_folders(configured)
        return [folder for folder in folders if Outbox.exists(folder) and is_private(os.path.dirname(folder))]

    @property
    def salt(self) -> bytes:
        """What the integration key is hashed with in this outbox."""
        return salt_of(self.folder)
