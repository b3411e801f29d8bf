# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds out what is wrong between this control node and Flashduty, without creating a change.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import stat
import sys
import tempfile
import urllib.parse
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from ansible import constants as C  # noqa: N812
from ansible.release import __version__ as core_version

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import ReadingFailed
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import (
    KEY_OPTIONS,
    Connection,
    InvalidConnection,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import reader
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.client import (
    requests_is_missing,
    try_fifo,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import (
    FILE_NAME,
    NO_SQLITE,
    OutboxError,
    set_aside_in,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.folders import own_folder, weakness
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.schema import is_on_network
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.doctor_settings import turned_off, unknown_names
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.finding import Finding

FLUSH = "ansible-playbook flashcat.flashduty.flush"
_CORE_LEAST, _CORE_TESTED = (2, 16), (2, 21)
_REQUESTS_LEAST = (2, 25)
# Seconds. The Date header has whole seconds; Flashduty refuses what comes from its future.
_SKEW_HARMLESS = 2.0
_SLOW = 3.0


def examine(options: Mapping[str, Any], origins: Mapping[str, str], variables: Collection[str] = ()) -> list[Finding]:
    """Everything there is to say.

    :param options: the options of the callback, and of the task above them.
    :param origins: where each of them comes from, as :func:`_options.origins` says it.
    :param variables: the names of the variables that a task sees.
    """
    findings = [*_software(), *_callback(), *turned_off(options, origins), *unknown_names(variables)]
    connection: Connection | None = None
    try:
        connection = Connection.from_options(options)
    except InvalidConnection as error:
        findings.append(Finding("integration key", "fail", str(error)))
    if connection is not None:
        findings += _secrets(options, origins)
        findings += _network(connection)
    of_outbox = [*_outbox(own_folder(_options.state_dir(options)))]
    findings += of_outbox
    # To look more closely at a damaged file would set it aside.
    can_look = not any(finding.state == "fail" or "cannot be read" in finding.text for finding in of_outbox)
    if connection is not None and can_look:
        findings += _of_others(_options.state_dir(options), connection)
    return findings


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in text.split(".")[:2])


def _own_version() -> str:
    manifest = Path(__file__).parents[3] / "MANIFEST.json"
    try:
        version = json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"]
    except (OSError, ValueError, LookupError):  # a clone
        version = "not installed from an artifact"
    return f"flashcat.flashduty {version}"


def _software() -> Iterator[Finding]:
    python = f"ansible-core {core_version} on Python {'.'.join(map(str, sys.version_info[:3]))}, {_own_version()}"
    if _version(core_version) < _CORE_LEAST:
        yield Finding("versions", "fail", python, "Supported is ansible-core 2.16 and later")
    elif _version(core_version) > _CORE_TESTED:
        yield Finding("versions", "warn", python, "This collection was tested up to ansible-core 2.21")
    else:
        yield Finding("versions", "ok", python)
    problem = requests_is_missing()
    if problem is not None:
        yield Finding("requests", "fail", problem)
        return
    try:
        version = importlib.metadata.version("requests")
    except importlib.metadata.PackageNotFoundError:
        version = "of unknown version"
    old = version[0].isdigit() and _version(version) < _REQUESTS_LEAST
    advice = f"Older than 2.25: {sys.executable} -m pip install --upgrade requests" if old else ""
    problem = reader.import_problem()
    if problem is not None:
        yield Finding("requests", "fail", f"requests {version} does not work: {problem}")
        return
    yield Finding("requests", "warn" if old else "ok", f"requests {version}", advice)


def _callback() -> Iterator[Finding]:
    file = C.CONFIG_FILE
    yield Finding("configuration", "ok", f"read from {file}" if file else "no ansible.cfg is read")
    if not file and os.path.exists("ansible.cfg"):
        yield Finding(
            "configuration",
            "warn",
            "the ansible.cfg in this folder is not read, most likely since others may write to the folder",
            "Set ANSIBLE_CONFIG to its path, or take the permission away",
        )
    enabled, origin = C.config.get_config_value_and_origin("CALLBACKS_ENABLED")
    names = [str(name).strip() for name in enabled or ()]
    if _options.CALLBACK in names:
        yield Finding("callback", "ok", f"enabled by {_said(origin)}")
    else:
        yield Finding(
            "callback",
            "warn",
            f"not enabled, runs are not reported; {_said(origin)} names {', '.join(names) or 'no callback'}",
            f"Add it to callbacks_enabled in the section [defaults] of {file or 'ansible.cfg'}: {_options.CALLBACK}",
        )


def _said(origin: Any) -> str:
    text = str(origin)
    if text == "default":
        return "the defaults"
    return f"the environment variable {text[5:]}" if text.startswith("env:") else text


def _secrets(options: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Finding]:
    name = next((name for name in KEY_OPTIONS if options.get(name)), KEY_OPTIONS[0])
    origin = origins.get(name, "the task")
    yield Finding("integration key", "ok", f"from {name}, set by {origin}")
    files = {}
    for option in (name, "app_key"):
        # The path of a key is no secret, so only the file that it names is looked at.
        path = options.get(option) if option == "integration_key_file" else origins.get(option, "")
        if options.get(option) and os.path.isfile(os.path.expanduser(str(path))):
            files[option] = path
    for option, path in files.items():
        path = os.path.expanduser(str(path))
        if os.stat(path).st_mode & 0o077:
            yield Finding("permissions", "warn", f"others may read {path}, which holds {option}", f"chmod 600 {path}")


def _network(connection: Connection) -> Iterator[Finding]:
    try:
        probe = reader.ask("probe", connection, {})
    except ReadingFailed as error:
        yield Finding("API", "fail", f"{connection.api_url} cannot be asked: {error}")
        return
    url, proxy = connection.api_url, probe["proxy"]
    yield Finding("proxy", "ok", f"through {proxy}" if proxy else "none is used")
    own = probe["own"]
    if own["status"] is None:
        through = f"the proxy {proxy}, " if proxy else ""
        advice = f"Check {through}api_url, name resolution and the firewall"
        yield Finding("API", "fail", f"{url} does not answer: {own['message']}", advice)
        return
    slow = probe["seconds"] > _SLOW
    advice = "Slow answers make the end of a run wait" if slow else ""
    yield Finding("API", "warn" if slow else "ok", f"{url} answers within {probe['seconds']:.1f} s", advice)
    if urllib.parse.urlsplit(url).scheme == "http":
        yield Finding("TLS", "warn", "plain http, the key can be read on the way", "Use https but for tests")
    elif connection.validate_certs:
        yield Finding("TLS", "ok", f"the certificate is valid by {connection.ca_path or 'the usual authorities'}")
    else:
        advice = "Set validate_certs to true, and ca_path where the certificate is your own"
        yield Finding("TLS", "warn", "the certificate is not checked", advice)
    yield from _clock(probe["skew"])
    yield _key_verdict(own, probe["other"])
    yield _app_key_verdict(connection, probe["app"])


def _clock(skew: float | None) -> Iterator[Finding]:
    if skew is None:
        yield Finding("clock", "warn", "the API does not send its time, so this machine's cannot be compared")
    elif abs(skew) <= _SKEW_HARMLESS:
        yield Finding("clock", "ok", "agrees with the API's")
    elif skew > 0:
        text = f"{skew:.0f} s ahead of the API's: events seem to come from the future, which it refuses"
        yield Finding("clock", "fail", text, "Let NTP set this machine's clock")
    else:
        text = f"{-skew:.0f} s behind the API's: changes are shown too early"
        yield Finding("clock", "warn", text, "Let NTP set this machine's clock")


def _key_verdict(own: Mapping[str, Any], other: Mapping[str, Any]) -> Finding:
    """What the answers to an empty event show, sent once with our key and once with a key that cannot be right."""
    said = f"{own['message']} (request_id {own['request_id'] or 'none'})"
    if own["code"] is None:
        return Finding("key", "fail", said, "Check api_url and proxies: it was not Flashduty that answered")
    if own["code"] != "InvalidParameter":
        advice = {
            "ResourceNotFound": "The account has not bought the product",
            "NoLicense": "The account has no licence left",
            "RequestTooFrequently": "Try again in a minute",
        }.get(str(own["code"]), "Check the integration in the Flashduty console")
        return Finding("key", "warn" if own["retry"] else "fail", said, advice)
    if "integration_key" in own["message"]:
        advice = "Copy the Push URL of a change integration from the Flashduty console again"
        return Finding("key", "fail", said, advice)
    if other["code"] == "InvalidParameter" and "integration_key" in other["message"]:
        return Finding("key", "ok", "accepted: with a made-up key the API objects to the key, with yours it does not")
    return Finding(
        "key",
        "warn",
        "the API answers alike with yours and with a made-up key, so it cannot be known without reporting a change",
        "To be sure, report one: ansible-playbook flashcat.flashduty.report",
    )


def _app_key_verdict(connection: Connection, answer: Mapping[str, Any] | None) -> Finding:
    if connection.app_key is None or answer is None:
        return Finding("app key", "ok", "none is set; it is needed only for reading changes back")
    if answer["status"] == 200:
        return Finding("app key", "ok", "changes can be read back")
    said = f"{answer['message']} (request_id {answer['request_id'] or 'none'})"
    state = "warn" if answer["retry"] else "fail"
    return Finding("app key", state, said, "Check it in the Flashduty console, or unset it")


# ---- the outbox


def _outbox(state_dir: str) -> Iterator[Finding]:
    if NO_SQLITE:
        yield Finding("outbox", "fail", NO_SQLITE)
        return
    with suppress(OSError):
        if found := weakness(state_dir):
            yield Finding(
                "outbox", "fail", found, "Until then a spool is used; or set state_dir to a folder of your own"
            )
            yield from _spools(state_dir)
            return
    if not os.path.exists(state_dir):
        parent = state_dir
        while not os.path.exists(parent):
            parent = os.path.dirname(parent)
        if not os.access(parent, os.W_OK | os.X_OK):
            yield Finding("outbox", "fail", f"{state_dir} cannot be made", f"Make {parent} writable, or set state_dir")
            return
        yield from _tried(parent, state_dir) or [Finding("outbox", "ok", f"{state_dir} will be made when it is needed")]
        return
    if not os.access(state_dir, os.W_OK | os.X_OK):
        yield Finding("outbox", "fail", f"{state_dir} cannot be written", "Change its owner, or set state_dir")
        return
    if os.stat(state_dir).st_mode & 0o077:
        yield Finding("outbox", "warn", f"others may look into {state_dir}", f"chmod 700 {state_dir}")
    if is_on_network(state_dir):
        text = f"{state_dir} lies on a network file system, whose locks may fail"
        yield Finding("outbox", "warn", text, "Set state_dir to a local folder")
    yield from _tried(state_dir, state_dir)
    if Outbox.exists(state_dir):
        yield from _state_of(state_dir)
    yield from _spools(state_dir)
    aside = set_aside_in(state_dir)
    if aside:
        text = f"{_counted(len(aside), 'damaged file')} set aside in {state_dir}"
        yield Finding("outbox", "warn", text, "What could be read was saved, delete them at will")


def _of_others(state_dir: str, connection: Connection) -> Iterator[Finding]:
    store = Store(state_dir, connection, only_look=True)
    try:
        left = store.look(lambda outbox, known: outbox.integrations.left_over(known)) if store.exists else []
    except OutboxError:  # of which another finding tells
        return
    for each in left:
        text = f"for the integration {each.name}, whose key is another one: {each.text()}"
        advice = f"If its key was replaced by this one: {FLUSH} -e adopt={each.name}. Otherwise flush with its key"
        yield Finding("outbox", "warn", text, advice)


def _spools(state_dir: str) -> Iterator[Finding]:
    for folder in Outbox.spools(state_dir):
        yield Finding("outbox", "warn", f"what it could not take lies in {folder}", f"Deliver it: {FLUSH}")
        yield from _state_of(folder)


def _tried(place: str, state_dir: str) -> list[Finding]:
    """What keeps a run from making what it needs, which is made in a folder of its own and removed."""
    try:
        with tempfile.TemporaryDirectory(prefix="flashduty-doctor-", dir=place) as trial:
            Outbox(trial).close()
            try_fifo(trial, state_dir)
    except (OSError, OutboxError) as error:
        return [Finding("outbox", "fail", f"no outbox can be used in {place}: {error}", "Repair it, or set state_dir")]
    return []


def _state_of(folder: str) -> Iterator[Finding]:
    import sqlite3  # which not every Python has

    path = os.path.join(folder, FILE_NAME)
    if stat.S_IMODE(os.stat(path).st_mode) & 0o077:
        yield Finding("outbox", "warn", f"others may read {path}", f"chmod 600 {path}")
    try:
        # Opened for reading only: what is damaged is set aside by the next run, not here.
        with closing(sqlite3.connect(f"file:{urllib.parse.quote(path)}?mode=ro", uri=True, timeout=5.0)) as database:
            states = dict(database.execute("SELECT state, count(*) FROM events GROUP BY state").fetchall())
            processes = [row[0] for row in database.execute("SELECT process FROM runs WHERE closed_at IS NULL")]
    except sqlite3.Error as error:
        yield Finding("outbox", "warn", f"{path} cannot be read: {error}", "The next run sets a damaged file aside")
        return
    waiting = states.get("waiting", 0) + states.get("sending", 0)
    if waiting:
        text = f"{_counted(waiting, 'event')} in {folder} not delivered yet"
        yield Finding("outbox", "warn", text, f"Deliver now: {FLUSH}")
    else:
        yield Finding("outbox", "ok", f"nothing waits in {folder}")
    if states.get("refused"):
        text = f"{_counted(states['refused'], 'event')} refused by Flashduty for good"
        yield Finding("outbox", "warn", text, "The warning of the run that sent them says why")
    gone = sum(_has_gone(text) for text in processes)
    if gone:
        text = f"{_counted(gone, 'run')} ended without a word"
        yield Finding("outbox", "warn", text, f"Close their changes: {FLUSH}")


def _has_gone(text: str) -> bool:
    try:
        process = Process.from_text(text)
    except (ValueError, TypeError):
        return False
    return process.is_of_earlier_boot or (process.is_local and not process.is_alive())


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
