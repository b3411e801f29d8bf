# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The outbox, open: its events, its runs, and the claims of those who send."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import (
    FILE_NAME,
    Database,
    again_when_damaged,
    salt_of,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import Events, PutResult
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.folders import is_private, spool_folders
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import SILENT_AFTER, Runs, Watch

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim, Claims
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.integrations import Integrations
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.listing import Listing
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.sql import SqlDatabase

# Seconds that a writer waits for the others.
PATIENCE = 10.0

_Self = TypeVar("_Self", bound="AnyOutbox")


class AnyOutbox:
    """An open outbox, a node's or the shared one: the rules for what is in it.

    :param now: the clock, Unix seconds.
    :param silent_after: seconds after which a run of another machine or container is taken for vanished.
    :param node: who sends, where several nodes share the outbox.
    """

    def __init__(
        self,
        database: SqlDatabase,
        now: Callable[[], float],
        silent_after: float = SILENT_AFTER,
        node: str = "",
    ) -> None:
        self.database = database
        self.events = Events(database, now)
        self.runs = Runs(database, self.events, now, silent_after)
        self.node = node
        self.now = now

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    @functools.cached_property
    def claims(self) -> Claims:
        """For those who send: the start of a run does not load it."""
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claims

        return Claims(self.database, self.now, self.node)

    @functools.cached_property
    def integrations(self) -> Integrations:
        """For those who look for what others have left: the start of a run does not load it."""
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.integrations import Integrations

        return Integrations(self.database, self.runs, self.now)

    @functools.cached_property
    def listing(self) -> Listing:
        """For those who show what was sent: the start of a run does not load it."""
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.listing import Listing

        return Listing(self.database)

    def remember(self, integration: str, api_url: str) -> None:
        """Keep the address of an integration that reports."""
        known = self.database.rows("SELECT 1 FROM integrations WHERE id = ? AND api_url = ?", (integration, api_url))
        if not known:
            with self.database.writing() as transaction:
                transaction.execute(
                    "INSERT INTO integrations (id, api_url) VALUES (?, ?)"
                    " ON CONFLICT (id) DO UPDATE SET api_url = excluded.api_url",
                    (integration, api_url),
                )

    @again_when_damaged
    def put(
        self,
        integration: str,
        event: ChangeEvent,
        run: str | None = None,
        force: bool = False,
        expires_at: float | None = None,
        watch: Watch | None = None,
    ) -> PutResult:
        """Store an event, unless the last one of its change says the same.

        :param integration: :meth:`Connection.integration_id`.
        :param event: its ``event_time`` is compared only where it has one.
        :param run: the run that closes this change should it vanish.
        :param force: store it in any case.
        :param expires_at: Unix seconds after which it is not worth sending any more; None keeps it for ever.
        :param watch: the process after whose end the change is closed, where ``run`` is None.
        :raises OutboxError: where it could not be stored.
        """
        with self.database.writing() as transaction:
            if run is None and watch is not None:
                run = self.runs.of_event(transaction, integration, event, watch)
            return self.events.put(transaction, integration, event, run, force, expires_at)

    @again_when_damaged
    def put_and_claim(
        self,
        integration: str,
        event: ChangeEvent,
        run: str | None,
        force: bool,
        expires_at: float | None,
        sender: Process,
        lease: float,
    ) -> tuple[PutResult, Claim | None]:
        """The same for who sends it itself: nobody else gets between.

        :param lease: seconds after which others may take the sender's claim for lost.
        :returns: also the claim on the first event of that change that waits; None where somebody sends one of it.
        """
        with self.database.writing() as transaction:
            result = self.events.put(transaction, integration, event, run, force, expires_at)
            return result, self.claims.claim_first(transaction, integration, event.change_key, sender, lease)


class Outbox(AnyOutbox):
    """The outbox in ``folder``. Open it late, close it early, and never carry it across a fork.

    :param durable: whether each transaction survives a power cut.
    :param now: the clock, Unix seconds.
    :param patience: seconds to wait for other writers.
    :param create: whether to make it where it is missing.
    :param alone: only to read, while no other process has it open.
    :raises OutboxError: where the folder cannot be made or written, or the file not be read.
    """

    database: Database

    def __init__(
        self,
        folder: str,
        durable: bool = True,
        now: Callable[[], float] = time.time,
        patience: float = PATIENCE,
        create: bool = True,
        alone: bool = False,
    ) -> None:
        self.folder = folder
        super().__init__(Database(folder, durable, patience, create, alone), now)

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
    def path(self) -> str:
        """The file."""
        return self.database.path

    @property
    def salt(self) -> bytes:
        """What the integration key is hashed with in this outbox."""
        return salt_of(self.folder)
