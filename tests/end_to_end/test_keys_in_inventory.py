# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys in variables of the inventory: flush and report find what a run finds, and what a warning advises works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_node import KEY, ControlNode, unbroken

from flashduty_sandbox.receiver import Receiver

DB_KEY = "c41d9e7720ab5f83"
FLUSH, REPORT = "flashcat.flashduty.flush", "flashcat.flashduty.report"
SITE = "- hosts: {hosts}\n  gather_facts: false\n{more}  tasks:\n    - ansible.builtin.raw: /bin/true\n"
PASSWORD = "of the vault"


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "receiver.sqlite3", integration_keys=(KEY, DB_KEY)) as running:
        yield running


@pytest.fixture
def two_keys(control: ControlNode, receiver: Receiver) -> ControlNode:
    """The groups web and db have a key each: that of web in a vault, that of db in the inventory itself."""
    del control.environment["FLASHDUTY_PUSH_URL"]
    (control.folder / "group_vars").mkdir()
    control.write("password", PASSWORD)
    web = control.write("group_vars/web.yml", f"flashduty_push_url: {receiver.push_url(KEY)}\n")
    vault = ["ansible-vault", "encrypt", "--vault-password-file", str(control.folder / "password"), web]
    subprocess.run(
        [str(Path(sys.executable).parent / vault[0]), *vault[1:]],
        check=True,
        capture_output=True,
        env=control.environment,
    )
    url = receiver.push_url(DB_KEY).replace(DB_KEY, "{{ key_of_db }}")
    with (control.folder / "inventory").open("a") as inventory:
        inventory.write(f"[db:vars]\nflashduty_push_url={url}\nkey_of_db={DB_KEY}\n")
    return control


def _outage(control: ControlNode, *arguments: str) -> str:
    """What a run says while Flashduty answers nothing."""
    control.receiver.faults.set("status", status=503)
    control.environment["FLASHDUTY_WAIT"] = "0"
    code, output = control.run(*arguments)
    assert code == 0, output
    return output


def _advised(output: str) -> list[str]:
    """The arguments of the flush that a warning advises."""
    found = re.search(
        r"or now: ansible-playbook (flashcat\.flashduty\.flush.*?)(?: <?sys>?:|$|\[WARNING)", unbroken(output)
    )
    assert found, output
    return shlex.split(found[1])


def _counts(output: str) -> dict[str, tuple[int, ...]]:
    found = re.findall(r"integration (\S+): (\d+) delivered, (\d+) waiting, (\d+) closed, (\d+) refused", output)
    return {name: tuple(map(int, counts)) for name, *counts in found}


def test_flush_delivers_for_each_integration_of_the_inventory_as_a_warning_advises(two_keys: ControlNode) -> None:
    site = two_keys.write("site.yml", SITE.format(hosts="web", more="") + SITE.format(hosts="db", more=""))
    password = str(two_keys.folder / "password")
    advised = _advised(_outage(two_keys, "--vault-password-file", password, site))
    assert advised == [FLUSH, "-i", f"{two_keys.folder}/inventory", "--vault-password-file", password]
    code, output = two_keys.run(*advised, "--check")
    assert code == 0, output
    assert two_keys.receiver.events() == []
    assert "checked only: the integration " in output
    assert {counts[1] for counts in _counts(output).values()} == {2}
    two_keys.receiver.faults.clear()
    adopt = two_keys.write_import(FLUSH, adopt=True)
    code, output = two_keys.run(FLUSH, adopt, *advised[1:])
    _before, flushed, adopted = output.split("PLAY [Deliver")
    assert code == 2
    assert "the inventory names several: say which by" in " ".join(adopted.split())
    counts = _counts(flushed)
    assert len(counts) == 2
    # The couriers may go on as well.
    assert all(waiting == refused == 0 for _delivered, waiting, _closed, refused in counts.values())
    assert "left for its own key" not in output
    for key in (KEY, DB_KEY):
        integration = two_keys.receiver.integration_id(key)
        events = [event for event in two_keys.receiver.events() if event["integration_id"] == integration]
        assert [event["body"]["change_status"] for event in events] == ["Processing", "Done"]
        assert key not in output


def test_what_cannot_be_read_keeps_neither_flush_nor_report_from_the_others(two_keys: ControlNode) -> None:
    db = two_keys.write("db.yml", SITE.format(hosts="db", more=""))
    _outage(two_keys, db, "--vault-password-file", str(two_keys.folder / "password"))
    two_keys.receiver.faults.clear()
    report_for = [two_keys.write_import(REPORT, report_for=where) for where in ("db", "dbs")]
    given = ("-e", "change_key=CHG-9 change_status=Done title=Upgrade")
    code, output = two_keys.run(FLUSH, *report_for, *given)
    assert "0 waiting" in output
    assert "CHG-9 is Done: accepted by Flashduty" in output
    assert code == 2
    assert "must be a host or group of the inventory, got dbs" in " ".join(output.split())
    assert len(two_keys.receiver.events()) == 3
    integrations = [change["integration_id"] for change in two_keys.receiver.changes()]
    assert integrations == [two_keys.receiver.integration_id(DB_KEY)] * 2


def test_a_key_that_only_the_playbook_sets_is_asked_for(control: ControlNode) -> None:
    url = control.environment.pop("FLASHDUTY_PUSH_URL")
    site = control.write("all.yml", SITE.format(hosts="env_prod", more=f"  vars:\n    flashduty_push_url: {url}\n"))
    said = unbroken(_outage(control, site))
    assert f"or now: ansible-playbook {FLUSH} -e flashduty_push_url=PUSH_URL" in said
    control.receiver.faults.clear()
    code, output = control.run(FLUSH, "-e", f"flashduty_push_url={url}")
    assert code == 0, output
    assert len(control.receiver.events()) == 2
