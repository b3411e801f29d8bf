# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs in real containers, set up as docs/awx.md says, are killed in the middle of a task."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from awx import FLUSH_PLAYBOOK, STALE, STATE_DIR, VOLUME, Job
from containers import NoPodman, Podman
from control_node import APP_KEY, INVENTORY, KEY, wait_until
from fleet import Node, check_closed, of_change
from postgresql import Database

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._http import Api
from flashduty_sandbox.receiver import Receiver

SITE = """
- hosts: web
  gather_facts: false
  tasks:
    - ansible.builtin.raw: sleep {seconds}
"""


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Podman:
    collections = Path(os.environ["ANSIBLE_COLLECTIONS_PATH"])
    try:
        return Podman(tmp_path_factory.mktemp("podman"), collections)
    except NoPodman as error:
        pytest.skip(str(error))


@pytest.fixture
def new_job(podman: Podman, tmp_path: Path, receiver: Receiver) -> Iterator[Callable[..., Job]]:
    """Makes a job of that name, which its change has as its key."""
    inventory = tmp_path / "inventory"
    inventory.write_text(INVENTORY.format(python=sys.executable))
    jobs: list[Job] = []

    def made(name: str, playbook: str, credential: dict[str, str], **variables: object) -> Job:
        fields = {"push_url": receiver.push_url(KEY), **credential}
        jobs.append(
            Job(podman, tmp_path / name, str(inventory), fields, playbook, flashduty_change_key=name, **variables)
        )
        return jobs[-1]

    yield made
    for job in jobs:
        print(job.output)
        job.close()


def wait_until_open(receiver: Receiver, *jobs: str) -> None:
    """Until each is in the middle of its task."""
    wait_until(lambda: all(of_change(receiver, job) for job in jobs))
    time.sleep(0.5)


def test_another_job_closes_within_45_seconds_what_killed_jobs_left_in_postgresql(
    new_job: Callable[..., Job], node: Node, database: Database, receiver: Receiver
) -> None:
    credential = {"outbox_url": node.environment["FLASHDUTY_OUTBOX_URL"]}
    by_podman, pod, isolated, other = (
        new_job(name, SITE.format(seconds=600), credential) for name in ("by-podman", "pod", "isolated", "other")
    )
    by_podman.start_by_podman()
    pod.start_in_a_container_group()
    isolated.start_on_an_execution_node()
    other.start_in_a_container_group()
    wait_until_open(receiver, "by-podman", "pod", "isolated", "other")
    by_podman.kill()
    pod.kill()
    isolated.cancel()
    killed_at = time.monotonic()
    for name in ("by-podman", "pod", "isolated"):
        closed = check_closed(receiver, name, killed_at)
        assert (closed["labels"]["actor"], closed["labels"]["host"]) == ("alice", "web1,web2")
    assert [body["change_status"] for body in of_change(receiver, "other")] == ["Processing"]
    assert database.rows("SELECT count(*) FROM flashduty.runs WHERE closed_at IS NULL") == [(1,)]


def test_the_next_job_closes_what_a_canceled_one_left_in_the_volume(
    new_job: Callable[..., Job], tmp_path: Path, receiver: Receiver
) -> None:
    folder = tmp_path / "volume"
    folder.mkdir(mode=0o700)
    volume = VOLUME.replace(VOLUME.split(":")[0], str(folder))
    canceled, following = (new_job(name, SITE.format(seconds=seconds), {}) for name, seconds in (("a", 600), ("b", 0)))
    for job in (canceled, following):
        job.environment["FLASHDUTY_STATE_DIR"] = STATE_DIR
    canceled.start_on_an_execution_node(volume)
    wait_until_open(receiver, "a")
    canceled.cancel()
    assert [body["change_status"] for body in of_change(receiver, "a")] == ["Processing"]
    # Instead of the three minutes after which nobody can be alive in another container.
    with closing(sqlite3.connect(folder / "outbox.sqlite3", isolation_level=None)) as outbox:
        outbox.execute("UPDATE runs SET seen_at = seen_at - 200, opened_at = opened_at - 200")
    following.start_on_an_execution_node(volume)
    assert following.wait() == 0
    check_closed(receiver, "a", time.monotonic())
    assert [body["change_status"] for body in of_change(receiver, "b")] == ["Processing", "Done"]


def test_a_flush_with_the_app_key_alone_closes_what_is_older_than_any_job(
    new_job: Callable[..., Job], receiver: Receiver
) -> None:
    fields = {
        "change_key": "old",
        "change_status": "Processing",
        "title": "t",
        "event_time": int(time.time() - 7 * 3600),
        "labels": {"source": "ansible"},
    }
    with closing(Api(Connection(receiver.url, KEY))) as api:
        api.push(ChangeEvent.validated(fields, time.time()).to_json(), 20.0)
    flush = new_job(
        "flush",
        FLUSH_PLAYBOOK,
        {"app_key": APP_KEY},
        **{**STALE, "stale_integration_id": receiver.integration_id(KEY)},
    )
    flush.start_in_a_container_group()
    assert flush.wait() == 0
    assert [body["change_status"] for body in of_change(receiver, "old")] == ["Processing", "Canceled"]
