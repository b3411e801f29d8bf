# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run that the tasks of a process belong to."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import pytest

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.current_run import (
    CurrentRun,
    current_runs,
    set_current_runs,
)

CHANGE = ChangeEvent("Processing", "CHG-7/web1", "t", labels={})


@pytest.fixture(autouse=True)
def _none_is_left() -> Iterator[None]:
    yield
    set_current_runs(())


def test_there_is_one_as_long_as_the_callback_says_so() -> None:
    assert current_runs() == ()
    run = CurrentRun("run", None, lambda host: None)
    set_current_runs([run])
    assert current_runs() == (run,)
    set_current_runs(())
    assert current_runs() == ()


def test_a_forked_worker_has_that_of_its_parent() -> None:
    set_current_runs([CurrentRun("run", None, {"web1": CHANGE}.get)])
    ours, theirs = multiprocessing.Pipe(duplex=False)

    def tell() -> None:
        (run,) = current_runs()
        theirs.send(None if run is None else (run.run, run.change_of("web1"), run.change_of("db1")))

    with ours, theirs:
        worker = multiprocessing.get_context("fork").Process(target=tell)
        worker.start()
        found = ours.recv()
        worker.join()
    assert found == ("run", CHANGE, None)
