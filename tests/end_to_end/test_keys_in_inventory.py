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
    """The groups web and db have a key each, that of web in a vault."""
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
    control.write("group_vars/db.yml", f'flashduty_push_url: "{url}"\nkey_of_db: {DB_KEY}\n')
    return control


def _outage(control: ControlNode, *runs: str) -> str:
    """What these runs say while Flashduty answers nothing."""
    control.receiver.faults.set("status", status=503)
    control.environment["FLASHDUTY_WAIT"] = "0"
    password = str(control.folder / "password")
    said = ""
    for arguments in runs:
        code, output = control.run("--vault-password-file", password, *shlex.split(arguments))
        assert code == 0, output
        said += output
    return said


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


def test_flush_delivers_for_each_integration_of_the_inventory(two_keys: ControlNode) -> None:
    web = two_keys.write("web.yml", SITE.format(hosts="web", more=""))
    db = two_keys.write("db.yml", SITE.format(hosts="db", more=""))
    _outage(two_keys, web, db)
    password = str(two_keys.folder / "password")
    code, output = two_keys.run("--check", "--vault-password-file", password, FLUSH)
    assert code == 0, output
    assert two_keys.receiver.events() == []
    assert "checked only: the integration " in output
    assert {counts[1] for counts in _counts(output).values()} == {2}
    two_keys.receiver.faults.clear()
    code, output = two_keys.run("--vault-password-file", password, FLUSH)
    assert code == 0, output
    counts = _counts(output)
    assert len(counts) == 2
    # The couriers may go on as well.
    assert all(waiting == refused == 0 for _delivered, waiting, _closed, refused in counts.values())
    assert "left for its own key" not in output
    assert sorted((event["body"]["change_status"]) for event in two_keys.receiver.events()) == [
        *["Done"] * 2,
        *["Processing"] * 2,
    ]
    assert KEY not in output
    assert DB_KEY not in output


def test_what_cannot_be_read_does_not_keep_flush_from_the_others(two_keys: ControlNode) -> None:
    db = two_keys.write("db.yml", SITE.format(hosts="db", more=""))
    _outage(two_keys, db)
    two_keys.receiver.faults.clear()
    code, output = two_keys.run(FLUSH)
    assert code == 0, output
    assert "0 waiting" in output
    assert len(two_keys.receiver.events()) == 2


def test_adopting_for_several_integrations_is_refused(two_keys: ControlNode) -> None:
    password = str(two_keys.folder / "password")
    code, output = two_keys.run("--vault-password-file", password, FLUSH, "-e", "adopt=true")
    assert code == 2
    assert "the inventory names several: say which by" in " ".join(output.split())


def test_the_advice_of_a_warning_can_be_typed_as_it_stands(two_keys: ControlNode) -> None:
    web = two_keys.write("web.yml", SITE.format(hosts="web", more=""))
    said = _outage(two_keys, web)
    arguments = _advised(said)
    assert "--vault-password-file" in arguments
    two_keys.receiver.faults.clear()
    code, output = two_keys.run(*arguments)
    assert code == 0, output
    assert [event["body"]["change_status"] for event in two_keys.receiver.events()] == ["Processing", "Done"]


def test_a_key_that_only_the_playbook_sets_is_asked_for(two_keys: ControlNode) -> None:
    url = two_keys.receiver.push_url(KEY)
    site = two_keys.write("all.yml", SITE.format(hosts="env_prod", more=f"  vars:\n    flashduty_push_url: {url}\n"))
    for path in (two_keys.folder / "group_vars").iterdir():
        path.unlink()
    said = unbroken(_outage(two_keys, site))
    assert f"or now: ansible-playbook {FLUSH} -e flashduty_push_url=PUSH_URL" in said
    two_keys.receiver.faults.clear()
    code, output = two_keys.run(FLUSH, "-e", f"flashduty_push_url={url}")
    assert code == 0, output
    assert len(two_keys.receiver.events()) == 2


def test_report_goes_to_the_integration_of_a_host_or_group(two_keys: ControlNode) -> None:
    given = ("-e", "change_key=CHG-9 change_status=Done title=Upgrade")
    code, output = two_keys.run(REPORT, *given, "-e", "report_for=db")
    assert code == 0, output
    assert "CHG-9 is Done: accepted by Flashduty" in output
    (change,) = two_keys.receiver.changes()
    assert change["integration_id"] == two_keys.receiver.integration_id(DB_KEY)
    code, output = two_keys.run(REPORT, *given, "-e", "report_for=dbs")
    assert code == 2
    assert "must be a host or group of the inventory, got dbs" in " ".join(output.split())
