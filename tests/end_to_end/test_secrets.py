# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The integration key and the APP key are nowhere but where the user put them, whatever the API and proxies answer."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from control_node import ControlNode
from endings import Stage

from flashduty_sandbox.receiver import Receiver

# What can be spelled in one way only, among what cannot.
CORE, APP_CORE = "Zk7Qw9XvB3nM5pL2", "Hd4Ty8RcU6sJ1gW0"
KEY, APP_KEY = f"a/b+c=%41&d?é\"'\\{CORE}#=", f"p/q+r=%41&s?é\"'\\{APP_CORE}#="
TASK = """
    - flashcat.flashduty.flashduty_change:
        change_key: CHANGE-1
        change_status: Done
        title: Upgrade
        {options}
      register: told
      ignore_errors: true
"""
PLAY = f"""
- hosts: web1
  gather_facts: false
  tasks:
    - ansible.builtin.raw: sleep 1{TASK}
    - ansible.builtin.debug: {{{{var: told}}}}
"""


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "receiver.sqlite3", integration_keys={KEY}, app_keys={APP_KEY}) as running:
        yield running


@pytest.fixture
def stage(control: ControlNode) -> Iterator[Stage]:
    made = Stage(control)
    for name in [name for name in control.environment if name.startswith("FLASHDUTY_")]:
        del control.environment[name]
    control.environment["ANSIBLE_LOG_PATH"] = str(control.folder / "ansible.log")
    yield made
    made.close()


def environment(stage: Stage) -> None:
    stage.control.environment.update(FLASHDUTY_INTEGRATION_KEY=KEY, FLASHDUTY_API_URL=stage.receiver.url)


def push_url_in_environment(stage: Stage) -> None:
    stage.control.environment["FLASHDUTY_PUSH_URL"] = stage.receiver.push_url(KEY)


def key_file(stage: Stage) -> None:
    path = stage.control.write("key", f"{KEY}\n")
    stage.control.environment.update(FLASHDUTY_INTEGRATION_KEY_FILE=path, FLASHDUTY_API_URL=stage.receiver.url)


def configuration(stage: Stage) -> None:
    text = f"[callback_flashduty_change]\npush_url = {stage.receiver.push_url(KEY)}\n"
    stage.control.environment["ANSIBLE_CONFIG"] = stage.control.write("ansible.cfg", text)


def variable(stage: Stage) -> None:
    _variables(stage, json.dumps({"flashduty_push_url": stage.receiver.push_url(KEY)}))


def vaulted_variable(stage: Stage) -> None:
    password = stage.control.write("password", "correct horse")
    stage.control.environment["ANSIBLE_VAULT_PASSWORD_FILE"] = password
    vaulted = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-vault"),
            *("encrypt_string", "--stdin-name", "flashduty_integration_key"),
        ],
        input=KEY,
        env=stage.control.environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    _variables(stage, f"{vaulted}\nflashduty_api_url: {stage.receiver.url}\n")


def module_option(stage: Stage) -> str:
    return f"push_url: {json.dumps(stage.receiver.push_url(KEY))}"


def _variables(stage: Stage, text: str) -> None:
    folder = stage.control.folder / "group_vars"
    folder.mkdir()
    (folder / "all.yml").write_text(text)


WAYS: list[Callable[[Stage], str | None]] = [
    environment,
    push_url_in_environment,
    key_file,
    configuration,
    variable,
    vaulted_variable,
    module_option,
]


def search(stage: Stage, output: str) -> None:
    """Nothing that we wrote holds a key, with whatever line breaks, and only the owner can read what is kept."""
    log = (stage.control.folder / "ansible.log").read_text()
    written = {path: content.decode(errors="replace") for path, content in stage.control.written().items()}
    texts = {"output": output, "log": log, **written}
    for name, text in texts.items():
        for secret in (CORE, APP_CORE):
            assert secret not in re.sub(r"\s", "", text), name
    modes = {}
    for path in [stage.control.state, *stage.control.state.rglob("*")]:
        with suppress(FileNotFoundError):  # a courier that leaves takes its files along
            modes[path] = os.lstat(path).st_mode
    assert stage.control.state / "outbox.sqlite3" in modes
    assert [path for path, mode in modes.items() if mode & 0o077] == []


@pytest.mark.alike
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("taken", [True, False], ids=["taken", "refused"])
def test_whatever_the_way_the_key_came(stage: Stage, way: Callable[[Stage], str | None], taken: bool) -> None:
    options = way(stage) or "force: false"
    if not taken:
        # As Flashduty does, its error repeats the key, here in several spellings.
        message = f"integration_key {KEY} is not a valid one ({quote(KEY)}, {quote(KEY, safe='')}, {KEY!r})"
        stage.receiver.faults.set("status", status=400, message=message)
    stage.control.environment["FLASHDUTY_APP_KEY"] = APP_KEY
    path = stage.control.write("site.yml", PLAY.format(options=options))
    with stage.control.start("-vvvvv", path) as process:
        seen = b""
        while process.poll() is None and not (seen and stage.outbox("SELECT 1 FROM events WHERE state != 'waiting'")):
            for pid in stage.couriers():
                try:
                    seen += Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
                except OSError:  # it has gone
                    continue
            time.sleep(0.01)
        output, _none = process.communicate(timeout=90)
    assert b"_courier" in seen
    for secret in (CORE, APP_CORE):
        assert secret.encode() not in seen
    search(stage, output)
    assert "CHANGE-1" in {event["change_key"] for event in stage.receiver.events()} or not taken, output
    if not taken:
        assert "is not a valid one" in output


OUTBOX_CORE = "Vb2Nm8Kj5Xc1"
# Nobody listens there.
OUTBOX_URL = f"postgresql://flash:a%40b%2F{OUTBOX_CORE}%3A@127.0.0.1:1/flashduty?connect_timeout=2"


@pytest.mark.alike
@pytest.mark.parametrize("way", ["environment", "file", "ansible.cfg", "variable", "option"])
def test_the_password_of_the_shared_outbox(stage: Stage, way: str) -> None:
    environment(stage)
    options = "force: false"
    if way == "environment":
        stage.control.environment["FLASHDUTY_OUTBOX_URL"] = OUTBOX_URL
    elif way == "file":
        stage.control.environment["FLASHDUTY_OUTBOX_URL_FILE"] = stage.control.write("url", OUTBOX_URL)
    elif way == "ansible.cfg":
        text = f"[callback_flashduty_change]\noutbox_url = {OUTBOX_URL}\n"
        stage.control.environment["ANSIBLE_CONFIG"] = stage.control.write("ansible.cfg", text)
    elif way == "variable":
        _variables(stage, json.dumps({"flashduty_outbox_url": OUTBOX_URL}))
    else:
        options = f"outbox_url: {OUTBOX_URL}"
    path = stage.control.write("site.yml", PLAY.format(options=options))
    seen = b""
    with stage.control.start("-vvvvv", path) as process:
        while process.poll() is None:
            for pid in stage.couriers():
                with suppress(OSError):  # it has gone
                    seen += Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
            time.sleep(0.01)
        output, _none = process.communicate(timeout=90)
    assert process.returncode == 0, output
    assert b"_courier" in seen
    assert OUTBOX_CORE.encode() not in seen
    texts = [output, (stage.control.folder / "ansible.log").read_text()]
    texts += [content.decode(errors="replace") for content in stage.control.written().values()]
    assert [text for text in texts if OUTBOX_CORE in re.sub(r"\s", "", text)] == []
    assert {"CHANGE-1"} < {event["change_key"] for event in stage.receiver.events()}, output


BROKEN = ("~ nobody_defined_this", "~", "| nobody_wrote_this_filter", "~ 1 / 0")
# Flashduty is asked about the last, as it is a key without its space: in a play after which the run is reported.
NO_KEYS = ([CORE], {"key": CORE}, f"{CORE} {CORE}", f"{CORE}\0", f"{CORE} ")


def test_a_template_that_fails_beside_the_key_and_a_key_that_is_none(stage: Stage) -> None:
    key, push_url, _app_key = names = ("flashduty_integration_key", "flashduty_push_url", "flashduty_app_key")
    failing = [{name: f"{{{{ '{CORE}' {broken} }}}}"} for name in names for broken in BROKEN]
    api_url = {"flashduty_api_url": stage.receiver.url}
    none = [{name: value, **api_url} for name in (push_url, key) for value in NO_KEYS]
    (stage.control.folder / "host_vars").mkdir()
    hosts = [f"host{number}" for number, _variables in enumerate([*failing, *none])]
    for host, variables in zip(hosts, [*failing, *none], strict=True):
        stage.control.write(f"host_vars/{host}.json", json.dumps(variables))
    stage.control.write("inventory", "".join(f"{host} ansible_connection=local\n" for host in hosts))
    task = TASK.format(options="force: false")
    plays = [f"- hosts: {host}\n  gather_facts: false\n  tasks:{task}" for host in hosts]
    plays.append("    - ansible.builtin.debug: {msg: \"{{ groups.all | map('extract', hostvars, 'told') | list }}\"}\n")
    code, output = stage.control.run(stage.control.write("site.yml", "".join(plays)))
    text = " ".join(output.split())
    assert code == 0, output
    for name in names:
        problem = f"{name}: its template failed"
        assert f"not reported to Flashduty: {problem}: 'nobody_defined_this' is undefined" in text
        # As each task failed, and as it is registered.
        assert text.count(f'"msg": "{problem}') == 2 * len(BROKEN)
    assert CORE not in text
    assert "Traceback" not in output


class Proxy:
    """A proxy that refuses everything, and in its refusal repeats all it was told, as error pages do."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked = b""
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _address = self._listener.accept()
            with connection:
                request = connection.recv(65536)
                if not request:
                    return
                self.asked += request
                line = request.split(b"\r\n")[0]
                page = b"<html>cannot do " + request + b"</html>"
                connection.sendall(
                    b"HTTP/1.1 403 not to be done: %b\r\nX-Said: %b\r\nContent-Length: %d\r\n" % (line, line, len(page))
                    + b"Connection: close\r\n\r\n"
                    + page
                )

    def close(self) -> None:
        """Serve no more."""
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join()
        self._listener.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.close()


@pytest.mark.alike
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_repeats_what_it_was_asked(stage: Stage, proxy: Proxy, scheme: str) -> None:
    stage.control.environment.update(
        {
            f"{scheme}_proxy": proxy.url,
            "FLASHDUTY_API_URL": f"{scheme}://flashduty.test",
            "FLASHDUTY_INTEGRATION_KEY": KEY,
            "FLASHDUTY_APP_KEY": APP_KEY,
            "FLASHDUTY_PLAIN_HTTP_HOSTS": "flashduty.test",
            "FLASHDUTY_WAIT": "1",
            "FLASHDUTY_TIMEOUT": "2",
        }
    )
    path = stage.control.write("site.yml", PLAY.format(options="force: false"))
    with stage.control.start("-vvvvv", path) as process:
        output, _none = process.communicate(timeout=90)
    assert process.returncode == 0
    assert b"flashduty.test" in proxy.asked
    assert (CORE.encode() in proxy.asked) == (scheme == "http")
    assert "not delivered yet" in " ".join(output.split())
    search(stage, output)


def test_the_app_key_is_refused(stage: Stage) -> None:
    environment(stage)
    stage.control.environment["FLASHDUTY_APP_KEY"] = APP_KEY
    stage.receiver.faults.set("status", status=401, message=f"app_key {APP_KEY} is not valid", endpoint="list")
    path = stage.control.write("site.yml", PLAY.format(options="force: false"))
    _code, output = stage.control.run("-vvvvv", path)
    assert "is not valid" in output
    search(stage, output)
