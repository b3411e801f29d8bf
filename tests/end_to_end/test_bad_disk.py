# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever is wrong with the folder of the outbox, the run goes on, still reports, and says what was wrong once."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from control_node import PATIENCE, ControlNode, wait_until

pytestmark = pytest.mark.slow

PLAYBOOK = """
- hosts: web1
  gather_facts: false
  tasks:
    - ansible.builtin.raw: "{command}"
"""
LOCK = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


def can_mount(folder: Path) -> bool:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True, check=False)
    if done.returncode == 0:
        subprocess.run(["umount", folder], check=True)
    return done.returncode == 0


@pytest.fixture
def state(control: ControlNode) -> Path:
    """The folder of the outbox."""
    return control.state


@pytest.fixture
def spool(control: ControlNode) -> Path:
    """Where what cannot be stored there goes."""
    return control.spools[0]


@pytest.fixture
def disk(state: Path) -> Iterator[Path]:
    """The folder as a small disk of its own."""
    state.mkdir(parents=True)
    if shutil.which("mount") is None or not can_mount(state):
        pytest.skip("needs the right to mount a file system")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=384k,mode=700", "none", state], check=True)
    yield state
    subprocess.run(["umount", "--lazy", state], check=True)


def run(control: ControlNode, command: str = "true") -> str:
    code, output = control.run(control.write("site.yml", PLAYBOOK.format(command=command)))
    assert code == 0, output
    assert "Traceback" not in output
    return " ".join(output.split())


def reported_with_one_warning(control: ControlNode, output: str, *words: str) -> None:
    assert control.statuses() == ["Processing", "Done"], output
    assert output.count("flashduty_change:") == 1, output
    for word in words:
        assert word in output


def nothing_is_left_to_flush(control: ControlNode) -> None:
    code, output = control.run("flashcat.flashduty.flush")
    assert code == 0, output
    assert control.statuses() == ["Processing", "Done"]


def test_a_folder_that_cannot_be_made(control: ControlNode, state: Path, spool: Path) -> None:
    state.parent.mkdir()
    state.write_text("this is no folder")
    reported_with_one_warning(control, run(control), "state_dir", str(spool))
    nothing_is_left_to_flush(control)


def test_a_full_disk(control: ControlNode, disk: Path, spool: Path) -> None:
    subprocess.run(["dd", "if=/dev/zero", f"of={disk}/ballast"], capture_output=True, check=False)
    reported_with_one_warning(control, run(control), str(spool))
    nothing_is_left_to_flush(control)


def test_a_disk_that_fills_up_during_the_run_and_is_read_only_later(
    control: ControlNode, disk: Path, spool: Path
) -> None:
    output = run(control, f"dd if=/dev/zero of={disk}/ballast bs=1k; true")
    reported_with_one_warning(control, output, str(spool))
    # The outbox that could not be written still shows the run as going on, and its start as not delivered.
    (disk / "ballast").unlink()
    nothing_is_left_to_flush(control)
    # Not while a courier has the file open.
    remount = ["mount", "-o", "remount,ro", str(disk)]
    wait_until(lambda: subprocess.run(remount, capture_output=True, check=False).returncode == 0)
    output = run(control)
    assert control.statuses() == ["Processing", "Done"] * 2
    assert output.count("flashduty_change:") == 1, output


def test_a_run_that_is_killed_on_a_disk_that_has_filled_up(control: ControlNode, disk: Path) -> None:
    command = f"dd if=/dev/zero of={disk}/ballast bs=1k; touch {control.folder}/full; exec sleep 120"
    with control.start(control.write("site.yml", PLAYBOOK.format(command=command))) as process:
        wait_until((control.folder / "full").exists)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    control.receiver.wait_for(lambda: control.statuses() == ["Processing", "Canceled"], timeout=PATIENCE)


def test_a_file_that_is_no_outbox_is_kept(control: ControlNode, state: Path) -> None:
    state.mkdir(parents=True)
    rubbish = b"this is no outbox" * 500
    (state / "outbox.sqlite3").write_bytes(rubbish)
    output = run(control)
    (kept,) = [path for path in state.iterdir() if ".corrupt-" in path.name]
    assert kept.read_bytes() == rubbish
    reported_with_one_warning(control, output, str(kept))
    nothing_is_left_to_flush(control)


def test_a_file_that_is_overwritten_during_the_run(control: ControlNode, state: Path) -> None:
    file = state / "outbox.sqlite3"
    wait = f"until [ -e {control.folder}/go ]; do sleep 0.1; done"
    overwrite = f"rm -f {file}-wal; head -c 100000 /dev/zero | tr '\\\\0' x > {file}"
    path = control.write("site.yml", PLAYBOOK.format(command=f"{wait}; {overwrite}"))
    with control.start(path) as process:
        control.receiver.wait_for(lambda: control.statuses() == ["Processing"], timeout=PATIENCE)
        control.write("go", "")
        output, _none = process.communicate(timeout=PATIENCE)
    assert "is kept as" in " ".join(output.split())
    (kept, *_companions) = sorted(path for path in state.iterdir() if ".corrupt-" in path.name)
    assert kept.read_bytes().startswith(b"x" * 1000)
    assert control.statuses() == ["Processing", "Done"], output
    nothing_is_left_to_flush(control)


@contextmanager
def locked(file: Path) -> Iterator[subprocess.Popen[str]]:
    """A stopped process holds the lock of a transaction."""
    with subprocess.Popen([sys.executable, "-c", LOCK, str(file)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_stopped_process_takes_the_lock_during_a_run_or_holds_it_before_the_next(
    control: ControlNode, state: Path
) -> None:
    command = f"touch {control.folder}/started; until [ -e {control.folder}/go ]; do sleep 0.1; done"
    with control.start(control.write("site.yml", PLAYBOOK.format(command=command))) as process:
        wait_until((control.folder / "started").exists)
        control.receiver.wait_for(lambda: control.statuses() == ["Processing"], timeout=PATIENCE)
        with locked(state / "outbox.sqlite3"):
            control.write("go", "")
            output, _none = process.communicate(timeout=PATIENCE)
    reported_with_one_warning(control, " ".join(output.split()), "locked")
    nothing_is_left_to_flush(control)
    with locked(state / "outbox.sqlite3"):
        output = run(control)
    assert control.statuses() == ["Processing", "Done"] * 2
    assert output.count("flashduty_change:") == 1
    assert "locked" in output


def test_a_lock_that_comes_with_an_outage_loses_no_end(control: ControlNode, state: Path) -> None:
    command = f"touch {control.folder}/started; until [ -e {control.folder}/go ]; do sleep 0.1; done"
    control.environment["FLASHDUTY_WAIT"] = "0"
    with control.start(control.write("site.yml", PLAYBOOK.format(command=command))) as process:
        wait_until((control.folder / "started").exists)
        control.receiver.wait_for(lambda: control.statuses() == ["Processing"], timeout=PATIENCE)
        control.receiver.faults.set("refuse", seconds=3600)
        with locked(state / "outbox.sqlite3"):
            control.write("go", "")
            process.communicate(timeout=PATIENCE)
    # By now the courier closes the run where it began, while its end waits in the spare outbox.
    with closing(sqlite3.connect(state / "outbox.sqlite3")) as database:
        closed = "SELECT count(*) FROM runs WHERE closed_at IS NOT NULL"
        wait_until(lambda: database.execute(closed).fetchone()[0] == 1)
    control.receiver.faults.clear()
    nothing_is_left_to_flush(control)


def test_a_change_of_tasks_ends_once_though_a_lock_comes_between(control: ControlNode, state: Path) -> None:
    del control.environment["ANSIBLE_CALLBACKS_ENABLED"]
    change = "    - flashcat.flashduty.flashduty_change: {{change_key: A-1, title: t, cancel_on_exit: true, {0}}}\n"
    begin, end = (change.format(f"change_status: {status}") for status in ("Processing", "Done"))
    wait = f"touch {control.folder}/started; until [ -e {control.folder}/go ]; do sleep 0.1; done"
    playbook = PLAYBOOK.format(command=wait).replace("  tasks:\n", f"  tasks:\n{begin}") + end
    with control.start(control.write("site.yml", playbook)) as process:
        wait_until((control.folder / "started").exists)
        with locked(state / "outbox.sqlite3"):
            control.write("go", "")
            output, _none = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 0, output
    assert control.statuses() == ["Processing", "Done"], output
    nothing_is_left_to_flush(control)


def test_a_missing_folder_is_made_and_what_a_newer_version_has_written_there_is_left_alone(
    control: ControlNode, state: Path, spool: Path
) -> None:
    assert "flashduty_change:" not in run(control)
    assert control.statuses() == ["Processing", "Done"]
    assert state.stat().st_mode & 0o777 == 0o700
    with closing(sqlite3.connect(state / "outbox.sqlite3")) as database:
        database.execute("PRAGMA user_version = 99")
    for number, report_when in enumerate(("always", "changed"), start=2):
        control.environment["FLASHDUTY_REPORT_WHEN"] = report_when
        output = run(control)
        assert control.statuses() == ["Processing", "Done"] * number
        assert output.count("flashduty_change:") == 1
        assert "newer version" in output
        shutil.rmtree(spool, ignore_errors=True)


def test_a_task_reports_through_the_spare_outbox_too(control: ControlNode, state: Path) -> None:
    control.environment["FLASHDUTY_ENABLED"] = "true"
    del control.environment["ANSIBLE_CALLBACKS_ENABLED"]
    state.parent.mkdir()
    state.write_text("this is no folder")
    task = "flashcat.flashduty.flashduty_change: {{change_key: A-1, change_status: Done, title: t}}"
    playbook = PLAYBOOK.replace('ansible.builtin.raw: "{command}"', task).format()
    for changed in (1, 0):
        code, output = control.run(control.write("task.yml", playbook))
        assert code == 0, output
        assert f"changed={changed}" in output
    assert control.statuses() == ["Done"]
