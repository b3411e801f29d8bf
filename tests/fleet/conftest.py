# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real PostgreSQL and a real receiver for control nodes with folders of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from control_node import APP_KEY, KEY
from fleet import Node
from postgresql import Database, PostgreSQL

from flashduty_sandbox.receiver import Receiver


@pytest.fixture(scope="session")
def server() -> Iterator[PostgreSQL]:
    running = PostgreSQL()
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def postgresql(server: PostgreSQL) -> PostgreSQL:
    """It runs, whatever the test before has done to it."""
    server.resume()
    server.start()
    return server


@pytest.fixture
def database(postgresql: PostgreSQL) -> Iterator[Database]:
    made = Database(postgresql)
    yield made
    postgresql.resume()
    postgresql.start()
    made.drop()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "receiver.sqlite3", integration_keys={KEY}, app_keys={APP_KEY}) as running:
        yield running


@pytest.fixture
def new_node(tmp_path: Path, receiver: Receiver, database: Database) -> Iterator[Callable[[str], Node]]:
    """Makes a control node of that name, which uses the shared outbox."""
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared_schema import migrate

    migrate(database.owner_url, [database.user])
    nodes: list[Node] = []

    def made(name: str) -> Node:
        nodes.append(Node(tmp_path / name, receiver, database.url))
        return nodes[-1]

    yield made
    for node in nodes:
        node.close()


@pytest.fixture
def node(new_node: Callable[[str], Node]) -> Node:
    return new_node("node")
