# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The receiver as a program: start, stop, show, serve.

One folder holds one sandbox. Its lock is held as long as the sandbox runs, so no file left behind can be mistaken for a
running one; and what runs is asked itself who it is.
"""

from __future__ import annotations

import argparse
import fcntl
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

from flashduty_sandbox import merge, rate_limit, rules
from flashduty_sandbox.http_server import ADDRESS
from flashduty_sandbox.receiver import PRODUCT, Receiver
from flashduty_sandbox.sandbox_api import SANDBOX_PATH
from flashduty_sandbox.store import History, StoreError, remove

PORT = 8765
INTEGRATION_KEY = "sandbox"
APP_KEY = "sandbox-app"
START_SECONDS = 30.0
STOP_SECONDS = 20.0
ANSWER_SECONDS = 5.0

_PROGRAM = Path(__file__).absolute().parent
_DAEMON = "_daemon"


class SandboxError(Exception):
    """Something that the user has to hear about, in one line."""


def main(argv: list[str]) -> int:
    """Run one command. Returns 0, 1 for a failure that was told, 2 for wrong arguments, 130 for Ctrl-C."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 2
    try:
        return int(arguments.run(arguments))
    except (SandboxError, StoreError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """The folder of the sandbox where none is given: under $ANSIBLE_HOME, or ~/.ansible."""
    return Path(environ.get("ANSIBLE_HOME") or "~/.ansible").expanduser() / "flashduty" / "sandbox"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sandbox", description="Flashduty's change API on 127.0.0.1, to see what Ansible would report."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        command.add_argument("--state-dir", type=_folder, default=None, help="folder of data, lock and log")
        return command

    for command in (
        add("start", _start, "Start it in the background; return once it answers."),
        add("serve", _serve, "Run it in the foreground until Ctrl-C."),
    ):
        command.add_argument("--port", type=_port, default=PORT, help="TCP port of 127.0.0.1, 0 for a free one")
        command.add_argument("--integration-key", type=_key, action="append", help=f"default: {INTEGRATION_KEY}")
        command.add_argument("--app-key", type=_key, action="append", help=f"default: {APP_KEY}")
        command.add_argument("--per-second", type=_limit, default=rate_limit.PER_SECOND, help="rate limit")
        command.add_argument("--per-minute", type=_limit, default=rate_limit.PER_MINUTE, help="rate limit")
        command.add_argument(
            "--merge",
            choices=merge.MODES,
            default="first",
            help="how events become a change: the first one's text stays, or every field follows the last one",
        )
        command.add_argument("--route-label", type=_key, help="the label whose value is an event's channel")
        command.add_argument("--tls-cert", type=_file, help="PEM file of a certificate: serve HTTPS")
        command.add_argument("--tls-key", type=_file, help="PEM file of its key")
        command.add_argument("--reset", action="store_true", help="start with an empty store")
        if command.prog.endswith("start"):
            command.add_argument("--check", action="store_true", help="only tell what would be done")
    stop = add("stop", _stop, "Stop it where it runs.")
    stop.add_argument("--check", action="store_true", help="only tell what would be done")
    show = add("show", _show, "Show the changes that it holds, running or not.")
    show.add_argument("--json", action="store_true", help="as JSON, with every event")
    commands.add_parser(_DAEMON).set_defaults(run=_become_daemon)
    return parser


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return Path(text).expanduser().absolute()


def _file(text: str) -> str:
    return str(_folder(text))


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 65535")
    return int(text)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def _key(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text


# ---- the folder


class _State:
    """The folder of one sandbox and what lies in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "sandbox.db"
        self.log = folder / "sandbox.log"
        self._running = folder / "sandbox.lock"
        self._changing = folder / "change.lock"
        self._address = folder / "sandbox.json"

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> _State:
        return cls((arguments.state_dir or default_state_dir(os.environ)).resolve())

    def create(self) -> None:
        missing = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        try:
            for path in reversed(missing):
                path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise SandboxError(f"{self.folder} cannot be created: {error.strerror}") from error

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Let one start or stop at a time into this folder."""
        with _locked(self._changing, block=True):
            yield

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold the lock that says that this sandbox runs. Raises SandboxError where another one does."""
        with _locked(self._running, block=False):
            yield

    def is_running(self) -> bool:
        if not self._running.exists():
            return False
        try:
            with self.running():
                return False
        except _Locked:
            return True

    def wait_until_stopped(self, seconds: float) -> None:
        stopped = threading.Event()

        def wait() -> None:
            with _locked(self._running, block=True):
                stopped.set()

        threading.Thread(target=wait, daemon=True).start()
        if not stopped.wait(seconds):
            raise SandboxError(f"the sandbox in {self.folder} still runs after {seconds:g} seconds")

    @contextmanager
    def announced(self, url: str) -> Iterator[None]:
        """Leave the address of the running sandbox in the folder."""
        draft = self._address.with_suffix(".new")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump({"url": url, "pid": os.getpid()}, file)
        draft.replace(self._address)
        try:
            yield
        finally:
            self._address.unlink(missing_ok=True)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask the running sandbox. Raises SandboxError where it does not answer, or another one does."""
        try:
            url = str(json.loads(self._address.read_text(encoding="utf-8"))["url"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SandboxError(f"the sandbox in {self.folder} is starting or ending, try again") from error
        status = _ask(url, "GET", "/sandbox/status")
        if not isinstance(status, dict) or status.get("sandbox") != PRODUCT:
            raise SandboxError(f"what answers at {url} is no sandbox")
        if status.get("database") != str(self.database):
            raise SandboxError(f"what answers at {url} is the sandbox of {status.get('database')}")
        return status if path == "/sandbox/status" else _ask(url, method, path, body)


class _Locked(SandboxError):
    """Another process holds the lock."""


@contextmanager
def _locked(path: Path, *, block: bool) -> Iterator[None]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SandboxError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if block else fcntl.LOCK_NB))
        yield
    except BlockingIOError as error:
        raise _Locked(f"another sandbox runs in {path.parent}") from error
    finally:
        os.close(descriptor)


def _ask(url: str, method: str, path: str, body: object = None) -> Any:
    scheme, _separator, host = url.partition("://")
    connection: http.client.HTTPConnection
    if scheme == "https":
        # The peer is this machine, and it has to prove that it holds the database.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, timeout=ANSWER_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(host, timeout=ANSWER_SECONDS)
    try:
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SandboxError(f"the sandbox at {url} does not answer: {error}") from error
    finally:
        connection.close()


# ---- start and serve


def _options(arguments: argparse.Namespace, state: _State) -> dict[str, Any]:
    if (arguments.tls_cert is None) != (arguments.tls_key is None):
        raise SandboxError("--tls-cert and --tls-key go together")
    return {
        "folder": str(state.folder),
        "port": arguments.port,
        "integration_keys": arguments.integration_key or [INTEGRATION_KEY],
        "app_keys": arguments.app_key or [APP_KEY],
        "per_second": arguments.per_second,
        "per_minute": arguments.per_minute,
        "merge": arguments.merge,
        "route_label": arguments.route_label,
        "tls": None if arguments.tls_cert is None else [arguments.tls_cert, arguments.tls_key],
        "reset": arguments.reset,
    }


def _report(state: str, url: str, options: Mapping[str, Any], pid: int | None, database: Path) -> dict[str, Any]:
    key = quote(options["integration_keys"][0], safe="")
    return {
        "state": state,
        "url": url,
        "page_url": f"{url}{SANDBOX_PATH}",
        "push_url": f"{url}{rules.PUSH_PATH}?integration_key={key}",
        "pid": pid,
        "database": str(database),
        "reset": options["reset"],
    }


def _print_json(value: object) -> None:
    print(json.dumps(value), flush=True)


def _start(arguments: argparse.Namespace) -> int:
    state = _State.of(arguments)
    options = _options(arguments, state)
    if arguments.check and not state.is_running():
        url = f"{'https' if options['tls'] else 'http'}://{ADDRESS}:{options['port']}"
        _print_json(_report("started", url, options, None, state.database))
        return 0
    state.create()
    with state.changing():
        if state.is_running():
            report = _found_running(state, options)
            if options["reset"] and not arguments.check:
                state.ask("DELETE", "/sandbox/changes")
        else:
            report = _spawn(options, state)
    _print_json(report)
    return 0


def _found_running(state: _State, options: Mapping[str, Any]) -> dict[str, Any]:
    status = state.ask("GET", "/sandbox/status")
    url = str(status["url"])
    port = int(url.rpartition(":")[2])
    history = History(state.database)
    wanted = [(kind, key) for kind in ("integration", "app") for key in options[f"{kind}_keys"]]
    if options["port"] not in (0, port) or url.startswith("https") != bool(options["tls"]):
        raise SandboxError(f"the sandbox in {state.folder} already runs at {url}: stop it first to change its address")
    if not all(history.knows(kind, key) for kind, key in wanted):
        raise SandboxError(f"the sandbox at {url} runs with other keys: stop it first to change them")
    if (status["merge"], status["route_label"]) != (options["merge"], options["route_label"]):
        raise SandboxError(
            f"the sandbox at {url} runs with merge {status['merge']} and route label {status['route_label']}: "
            "stop it first to change them"
        )
    return _report("running", url, options, int(status["pid"]), state.database)


def _spawn(options: Mapping[str, Any], state: _State) -> dict[str, Any]:
    log = os.open(state.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(_PROGRAM), _DAEMON],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(log)
    try:
        output, _none = child.communicate(json.dumps(options).encode(), timeout=START_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        raise SandboxError(f"the sandbox did not start within {START_SECONDS:g} seconds, see {state.log}") from None
    try:
        report = json.loads(output)
    except ValueError:
        raise SandboxError(f"the sandbox did not start, see {state.log}") from None
    if "error" in report:
        raise SandboxError(report["error"])
    return dict(report)


def _become_daemon(arguments: argparse.Namespace) -> int:
    """Answer in a process that belongs to nobody. What it has to say goes to standard output once."""
    options = json.load(sys.stdin)
    if os.fork():
        os._exit(0)

    def announce(report: Mapping[str, Any]) -> None:
        _print_json(report)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, sys.stdin.fileno())
        os.dup2(null, sys.stdout.fileno())
        os.close(null)

    try:
        _answer(options, announce)
    except (SandboxError, StoreError) as error:
        announce({"error": str(error)})
        return 1
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    state = _State.of(arguments)
    options = _options(arguments, state)
    state.create()
    _answer(options, _print_json)
    return 0


def _answer(options: Mapping[str, Any], announce: Callable[[Mapping[str, Any]], None]) -> None:
    """Answer requests until a signal or POST /sandbox/stop ends it."""
    state = _State(Path(options["folder"]))
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: ended.set())
    with state.running():
        if options["reset"]:
            remove(state.database)
        try:
            receiver = Receiver(
                state.database,
                options["integration_keys"],
                options["app_keys"],
                port=options["port"],
                per_second=options["per_second"],
                per_minute=options["per_minute"],
                merge=options["merge"],
                route_label=options["route_label"],
                tls=options["tls"],
                on_stop=ended.set,
            ).start()
        except OSError as error:
            _explain(error, options)
        except StoreError as error:
            raise SandboxError(f"{error}; --reset starts anew") from error
        with closing(receiver), state.announced(receiver.url):
            announce(_report("started", receiver.url, options, os.getpid(), state.database))
            ended.wait()


def _explain(error: OSError, options: Mapping[str, Any]) -> NoReturn:
    if isinstance(error, ssl.SSLError) or error.filename is not None or isinstance(error, FileNotFoundError):
        raise SandboxError(f"the certificate or its key cannot be used: {error}") from error
    raise SandboxError(
        f"port {options['port']} of {ADDRESS} cannot be used ({error.strerror}): choose another one with --port"
    ) from error


# ---- stop and show


def _stop(arguments: argparse.Namespace) -> int:
    state = _State.of(arguments)
    if not state.is_running():
        _print_json({"state": "not_running"})
        return 0
    if not arguments.check:
        with state.changing():
            if state.is_running():
                state.ask("POST", "/sandbox/stop", {})
                state.wait_until_stopped(STOP_SECONDS)
    _print_json({"state": "stopped"})
    return 0


def _show(arguments: argparse.Namespace) -> int:
    state = _State.of(arguments)
    changes = History(state.database).changes() if state.database.exists() else []
    if arguments.json:
        print(json.dumps(changes, indent=2))
    else:
        print(table(changes, time.time()))
    return 0


def table(changes: Sequence[Mapping[str, Any]], now: float) -> str:
    """Changes as text, three lines each at most: the change, what it says, its labels. `now` is in Unix seconds."""
    if not changes:
        return "No changes."
    head = ("STATUS", "START", "DURATION", "EVENTS", "KEY", "TITLE")
    rows = [head] + [
        (
            change["change_status"],
            _clock(change["start_time"]),
            _duration(change, now),
            str(change["event_count"]),
            _plain(change["change_key"]),
            _plain(change["title"]),
        )
        for change in changes
    ]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, row in enumerate(rows):
        cells = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
        if number:
            change = changes[number - 1]
            details = (change["description"], "  ".join(f"{key}={value}" for key, value in change["labels"].items()))
            lines += [f"    {_plain(text)}" for text in details if text]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text on one line that a terminal takes for nothing else."""
    text = " ".join(text.splitlines())
    return "".join(c if unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    combining = sum(unicodedata.category(character) in ("Mn", "Me") for character in text)
    return len(text) + wide - combining


def _clock(seconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return str(seconds)


def _duration(change: Mapping[str, Any], now: float) -> str:
    status = change["change_status"]
    if status in merge.ENDED:
        return f"{change['end_time'] - change['start_time']} s"
    return f"{max(0, int(now) - change['start_time'])} s, open" if status == "Processing" else "-"
