# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every test relies on: neither the settings of the person who runs the tests nor other tests reach it."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.plugins.loader import init_plugin_loader
from hypothesis import settings

for name in [name for name in os.environ if name.startswith("FLASHDUTY_")]:
    del os.environ[name]

# What a shell puts into the background ignores Ctrl-C and Ctrl-\, and what nohup starts a hang-up; so would every
# ansible-playbook that the tests start there. A handler is not inherited, and this process stays as deaf as it was.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for ignored in (signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, lambda _number, _frame: None)

# For tests that start ansible-playbook, also where pytest was started by hand.
os.environ.setdefault("ANSIBLE_COLLECTIONS_PATH", str(Path(__file__).parents[1] / ".build" / "collections"))

# ansible-core finds plugins only in collections that it has imported itself, so this comes before any other import.
init_plugin_loader()

# A proxy would take requests to 127.0.0.1 away from the receivers that the tests start.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"

# The time that one example takes says nothing on a machine that others use too.
settings.register_profile("flashduty", deadline=None, print_blob=True)
settings.load_profile("flashduty")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what is the second or a later one of many alike."""
    seen = set()
    for item in items:
        if item.get_closest_marker("alike"):
            name = item.nodeid.partition("[")[0]
            if name in seen:
                item.add_marker("slow")
            seen.add(name)


@pytest.fixture(autouse=True)
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """This machine, which a test marked `alone` shares with none in the other processes of pytest.

    Beside fifty playbooks, another test's takes thirty times as long, and may give up on what it waits for.
    """
    alone = request.node.get_closest_marker("alone") is not None
    with (tmp_path_factory.getbasetemp().parent / "machine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
