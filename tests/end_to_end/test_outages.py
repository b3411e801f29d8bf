# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever happens on the way to Flashduty, the run goes on, says so once, and everything arrives later."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import Any

import pytest
from control_node import KEY, ControlNode, wait_until

# Seconds.
WAIT = 1.0
OUTAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "refused": ("refuse", {"seconds": 600}),
    "hanging": ("hang", {}),
    "reset": ("reset", {}),
    "late": ("delay", {"seconds": 30}),
    "dripping": ("drip", {"seconds": 5}),
    "429": ("status", {"status": 429}),
    "429 with Retry-After": ("status", {"status": 429, "retry_after": 600}),
    "500": ("status", {"status": 500}),
    "503 without an error of Flashduty's": ("html", {"status": 503}),
    "a proxy's HTML": ("html", {}),
    "a captive portal": ("portal", {}),
    "an empty answer": ("empty", {}),
    "a redirect": ("redirect", {"location": "http://portal.example/login"}),
    "lost answers": ("lost_answer", {}),
}
PLAYBOOK = """
- hosts: web1
  gather_facts: false
  tasks:
    - ansible.builtin.raw: touch {folder}/first
    - ansible.builtin.raw: "i=0; until [ -e {folder}/go ] || [ $((i+=1)) -gt 600 ]; do sleep 0.1; done"
"""


def through_an_outage(control: ControlNode, outage: str, begins: str) -> tuple[str, float, float]:
    """A run with an outage that begins at the ``start`` or in the ``middle``.

    Returns its output, when it ended its tasks and how long the end took then, in seconds.
    """
    kind, options = OUTAGES[outage]
    control.environment.update(FLASHDUTY_WAIT=str(WAIT), FLASHDUTY_TIMEOUT="2")
    if begins == "start":
        control.receiver.faults.set(kind, **options)
    with control.start(control.write("site.yml", PLAYBOOK.format(folder=control.folder))) as process:
        wait_until((control.folder / "first").exists)
        if begins == "middle":
            control.receiver.wait_for(lambda: control.statuses() == ["Processing"], timeout=60)
            control.receiver.faults.set(kind, **options)
        control.write("go", "")
        last_task = time.time()
        output, _none = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return output, last_task, time.time() - last_task


def distinct(control: ControlNode) -> list[tuple[str, int]]:
    """What arrived, in order, without the repetitions that lost answers bring."""
    found: list[tuple[str, int]] = []
    for event in control.receiver.events():
        each = (event["change_status"], event["event_time"])
        if found[-1:] != [each]:
            found.append(each)
    return found


@pytest.mark.alike
@pytest.mark.parametrize(
    ("outage", "begins"),
    [(outage, "start") for outage in OUTAGES]
    + [(outage, "middle") for outage in ("refused", "hanging", "429 with Retry-After", "a captive portal")],
)
def test_an_outage_loses_nothing(control: ControlNode, outage: str, begins: str) -> None:
    begun = time.time()
    output, last_task, took = through_an_outage(control, outage, begins)
    # The wait, and what it takes a busy machine to end two tasks and the process.
    assert took < WAIT + 40
    assert output.count("flashduty_change:") == 1, output
    told = " ".join(output.split())
    assert "not delivered yet" in told
    assert "flashcat.flashduty.flush" in told
    assert KEY not in output
    control.receiver.faults.clear()
    code, output = control.run("flashcat.flashduty.flush")
    assert code == 0, output
    arrived = distinct(control)
    if outage == "late":
        # A request that was given up may be handled after the one that came in its place, and after the next event.
        arrived = list(dict.fromkeys(arrived))
    (start, started_at), (end, ended_at) = arrived
    assert (start, end) == ("Processing", "Done")
    assert begun - 2 < started_at <= last_task
    assert last_task - 1 <= ended_at <= last_task + took


@pytest.mark.alike
@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("https://127.0.0.1:{port}", "TLS"),
        ("https://flashduty.invalid", "host name"),
        ("http://127.0.0.1:1", "refused"),
    ],
)
def test_a_wrong_address_is_told_and_once_mended_everything_arrives(
    control: ControlNode, address: str, problem: str
) -> None:
    right = control.environment.pop("FLASHDUTY_PUSH_URL")
    control.environment.update(
        FLASHDUTY_API_URL=address.format(port=control.receiver.port),
        FLASHDUTY_INTEGRATION_KEY=KEY,
        FLASHDUTY_WAIT=str(WAIT),
    )
    control.write("go", "")
    code, output = control.run(control.write("site.yml", PLAYBOOK.format(folder=control.folder)))
    assert code == 0
    assert problem in " ".join(output.split())
    del control.environment["FLASHDUTY_API_URL"], control.environment["FLASHDUTY_INTEGRATION_KEY"]
    control.environment["FLASHDUTY_PUSH_URL"] = right
    code, output = control.run("flashcat.flashduty.flush")
    assert code == 0, output
    assert control.statuses() == ["Processing", "Done"]


def test_an_outage_that_ends_during_the_run_costs_nothing_and_says_nothing(control: ControlNode) -> None:
    control.receiver.faults.set("status", status=500, times=2)
    with control.start(control.write("site.yml", PLAYBOOK.format(folder=control.folder))) as process:
        control.receiver.wait_for(lambda: control.statuses() == ["Processing"], timeout=60)
        control.write("go", "")
        output, _none = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "flashduty_change:" not in output
    assert control.statuses() == ["Processing", "Done"]


def test_the_end_tries_at_once_whatever_pause_an_outage_had_brought(control: ControlNode) -> None:
    control.receiver.faults.set("refuse", seconds=3600)
    database = control.folder / "home" / "flashduty" / "outbox.sqlite3"

    def paused_for_an_hour() -> bool:
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as outbox:
            return outbox.execute("UPDATE pauses SET until = until + 3600").rowcount == 1

    with control.start(control.write("site.yml", PLAYBOOK.format(folder=control.folder))) as process:
        wait_until((control.folder / "first").exists)
        wait_until(paused_for_an_hour)
        control.receiver.faults.clear()
        control.write("go", "")
        output, _none = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "not delivered yet" not in output
    assert control.statuses() == ["Processing", "Done"]


def test_a_run_waits_for_nothing_and_the_next_one_delivers_what_it_could_not(control: ControlNode) -> None:
    control.environment.update(FLASHDUTY_WAIT="0", FLASHDUTY_TIMEOUT="300")
    control.receiver.faults.set("hang")
    control.write("go", "")
    site = control.write("site.yml", PLAYBOOK.format(folder=control.folder))
    begun = time.monotonic()
    assert control.run("-e", "flashduty_change_key=first", site)[0] == 0
    assert time.monotonic() - begun < 60
    assert control.statuses() == []
    control.receiver.faults.clear()
    control.environment.update(FLASHDUTY_WAIT="30", FLASHDUTY_TIMEOUT="60")
    assert control.run("-e", "flashduty_change_key=second", site)[0] == 0
    control.receiver.wait_for(lambda: len(control.receiver.events()) == 4, timeout=30)
    assert {change["change_key"]: change["change_status"] for change in control.receiver.changes()} == {
        "first": "Done",
        "second": "Done",
    }
