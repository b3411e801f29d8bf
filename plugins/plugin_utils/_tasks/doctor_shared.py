# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the doctor finds of the outbox that several nodes share, which it only reads.

It is imported where outbox_url is set.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_url import shown
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import FLUSH
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox import shared_schema
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.postgres import NAMESPACE, PostgresDatabase
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared import SharedOutbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.finding import Found, listed
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts import counted

# Seconds.
_LATELY = 86400.0
_WAITS_FOR_LONG = 60.0
# How many integrations are looked at.
_ASKED_MAX = 10
_MAY_USE = "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_catalog.pg_namespace WHERE nspname = ?"
_SESSION = (
    "SELECT current_setting('transaction_read_only') = 'on', coalesce((SELECT ssl FROM pg_catalog.pg_stat_ssl"
    " WHERE pid = pg_backend_pid()), false) OR coalesce(inet_client_addr() <<= CAST(? AS inet)"
    " OR inet_client_addr() = CAST(? AS inet), true)"
)
_LOOPBACK = ("127.0.0.0/8", "::1")


class SharedState(NamedTuple):
    """How a shared outbox is.

    :ivar tables: ``ok``, or ``no-tables``, ``older``, ``newer`` or ``forbidden``.
    :ivar is_private: whether nobody on the way can read what goes there.
    :ivar nodes: who has reported lately.
    :ivar runs: how many are open.
    :ivar vanished: how many of them nobody will close, of the integrations that were asked for.
    :ivar waiting: how many events wait for longer than they should.
    """

    tables: str
    is_read_only: bool
    is_private: bool
    nodes: Sequence[str] = ()
    runs: int = 0
    vanished: int = 0
    waiting: int = 0


def examine_shared(url: str, connections: Sequence[Connection]) -> Iterator[Found]:
    """Everything there is to say of the shared outbox.

    :param connections: the integrations that this node reports to.
    """
    where = shown(url)
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        yield Found("psycopg-missing", problem=error, python=sys.executable)
        return
    try:
        state = look_at(url, connections)
    except OutboxError as error:
        yield Found("shared-outbox-not-usable", where=where, problem=error)
        return
    if not state.is_private:
        yield Found("shared-outbox-plain", where=where)
    if state.is_read_only:
        yield Found("shared-outbox-read-only", where=where)
    if state.tables != "ok":
        yield Found(f"shared-outbox-{state.tables}", where=where, playbook=shared_schema.PLAYBOOK)
        return
    yield Found("shared-outbox", where=where, nodes=listed(state.nodes, "node"), runs=counted(state.runs, "run"))
    if state.waiting:
        yield Found("shared-outbox-waiting", where=where, events=counted(state.waiting, "event"), flush=FLUSH)
    if state.vanished:
        yield Found("shared-outbox-vanished-runs", where=where, runs=counted(state.vanished, "run"), flush=FLUSH)


def look_at(url: str, connections: Sequence[Connection]) -> SharedState:
    """How the shared outbox is.

    :raises OutboxError: where it cannot be asked.
    """
    with closing(PostgresDatabase(url)) as database:
        is_read_only, is_private = database.rows(_SESSION, _LOOPBACK)[0]
        state = SharedState(_tables(database), is_read_only, is_private)
        if state.tables != "ok":
            return state
        now = database.now()
        nodes = database.rows(
            "SELECT node FROM events WHERE put_at > ? GROUP BY node ORDER BY max(put_at) DESC", (now - _LATELY,)
        )
        waiting = database.rows(
            "SELECT count(*) FROM events WHERE state IN ('waiting', 'sending') AND put_at < ?", (now - _WAITS_FOR_LONG,)
        )
        runs = database.rows("SELECT count(*) FROM runs WHERE closed_at IS NULL")
        vanished: set[str] = set()
        for connection in connections[:_ASKED_MAX]:
            with SharedOutbox.open(connection) as shared:
                vanished.update(shared.runs.vanished())
        names = [str(row["node"]) for row in nodes]
        return state._replace(nodes=names, runs=runs[0][0], vanished=len(vanished), waiting=waiting[0][0])


def _tables(database: PostgresDatabase) -> str:
    may_use = database.rows(_MAY_USE, (NAMESPACE,))
    if may_use and not may_use[0][0]:
        return "forbidden"
    version = shared_schema.version(database) if may_use else None
    if version is None:
        return "no-tables"
    if version != shared_schema.SCHEMA_VERSION:
        return "newer" if version > shared_schema.SCHEMA_VERSION else "older"
    role = str(database.rows("SELECT current_user")[0][0])
    return "ok" if shared_schema.has_rights(database, role) else "forbidden"
