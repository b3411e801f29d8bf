# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds out what is wrong between this control node and Flashduty, without creating a change."""

from __future__ import annotations

import importlib.metadata
import json
import os
import stat
import sys
import tempfile
import urllib.parse
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from ansible import constants as C  # noqa: N812
from ansible import context
from ansible.release import __version__ as core_version

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import (
    KEY_OPTIONS,
    OUTBOX_URL_OPTIONS,
    Connection,
    InvalidConnection,
    MissingKey,
    outbox_url_of,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils import _options
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import reader
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.client import (
    requests_is_missing,
    try_fifo,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.inventory_path import labels_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import LabelRules, RunLabels
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.variables import targets
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import FLUSH, Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import (
    FILE_NAME,
    NO_SQLITE,
    Database,
    OutboxError,
    set_aside_in,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.folders import own_folder, weakness
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.integrations import LeftOver
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.schema import is_on_network
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.doctor_settings import (
    origin_in_words,
    turned_off,
    unknown_names,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.finding import Finding, Found, listed
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.inventory import (
    Inventory,
    integration_of,
    names_of,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts import Text, counted

_CORE_LEAST, _CORE_TESTED = (2, 16), (2, 22)
_REQUESTS_LEAST = (2, 25)
# Seconds. The Date header has whole seconds; Flashduty refuses what comes from its future.
_SKEW_HARMLESS = 2.0
_SLOW = 3.0
# How many integrations are asked about their keys.
_ASKED_MAX = 10


def examine(
    options: Mapping[str, Any],
    origins: Mapping[str, str],
    variables: Collection[str] = (),
    inventory: Inventory | None = None,
    language: str = "en",
) -> list[Finding]:
    """Everything there is to say.

    :param options: the options of the callback, and of the task above them.
    :param origins: where each of them comes from, as :func:`.doctor_settings.configured_origins` says it.
    :param variables: the names of the variables that a task sees.
    :param inventory: what the hosts of the inventory have.
    :param language: of the findings, en or zh.
    """
    findings = [*_software(), *_callback(), *turned_off(options, origins), *unknown_names(variables)]
    connections = [] if inventory is None else inventory.connections
    try:
        own = Connection.from_options(options)
        findings += _secrets(options, origins)
        connections = [own, *(each for each in connections if each.for_pushing() != own.for_pushing())]
    except MissingKey as error:
        key = "integration-key-in-inventory" if connections else "integration-key-missing"
        findings.append(Found(key, problem=error))
    except InvalidConnection as error:
        kind = "setting-invalid" if error.option in OUTBOX_URL_OPTIONS else "integration-key-invalid"
        findings.append(Found(kind, problem=error))
    state_dir = _options.state_dir(options)
    of_outbox = [*_outbox(own_folder(state_dir))]
    # To look more closely at a damaged file would set it aside.
    can_look = not any(each.is_broken or each.kind == "outbox-unreadable" for each in of_outbox)
    names = names_of(state_dir, connections if can_look else [])
    if inventory is not None:
        findings += _of_hosts(inventory, names)
    for connection in connections[:_ASKED_MAX]:
        whose = names.get(integration_of(connection), "") if len(connections) > 1 else ""
        for each in _network(connection):
            each.whose = whose if each.is_of_key else ""
            findings.append(each)
    findings += of_outbox
    if connections and can_look:
        findings += _of_others(state_dir, connections)
    findings += _shared_outboxes(options, connections)
    if inventory is not None:
        findings += _guessed_env(inventory.play, options)
    # Several integrations have most of what was asked in common.
    return [*dict.fromkeys(each.said(language) for each in findings)]


def _of_hosts(inventory: Inventory, names: Mapping[Any, str]) -> Iterator[Found]:
    """What the variables of the inventory say of whether, and to where, its hosts are reported."""
    for problem in inventory.unreadable:
        yield Found("variables-unreadable", problem=problem)
    for alike in inventory.alike:
        if alike.problem:
            yield Found("hosts-key-invalid", hosts=listed(alike.hosts, "host"), problem=alike.problem)
        if not alike.enabled:
            yield Found("reports-off-for-hosts", hosts=listed(alike.hosts, "host"))
    for group, parts in inventory.groups():
        for connection, count in parts:
            if connection is not None:
                name = names.get(integration_of(connection), "")
                yield Found("group", group=group, integration=name, hosts=counted(count, "host"))
    without = [host for each in inventory.alike if each.connection is None and not each.problem for host in each.hosts]
    if without and inventory.connections:
        yield Found("hosts-without-key", hosts=listed(without, "host"))


def _guessed_env(play: Any, options: Mapping[str, Any]) -> Iterator[Found]:
    """From what the label ``env`` is guessed, for all hosts of the inventory."""
    notices = Notices()
    rules = LabelRules.from_options(options, notices, _options.is_default("label_vars", options))
    labels = RunLabels(rules, labels_of(context.CLIARGS.get("inventory") or (), os.getcwd()), notices)
    hosts = play.get_variable_manager()._inventory.get_hosts(ignore_restrictions=True, ignore_limits=True)
    if hosts:
        labels.add_play(targets(play, hosts, rules.variable_names, notices, written=rules.written_names))
        if origin := labels.env_origin():
            yield Found("env-guessed", env=labels.labels().get("env"), hosts=len(hosts), origin=origin)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in text.split(".")[:2])


def _own_version() -> str:
    manifest = Path(__file__).parents[3] / "MANIFEST.json"
    try:
        version = json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"]
    except (OSError, ValueError, LookupError):  # a clone
        version = "not installed from an artifact"
    return f"flashcat.flashduty {version}"


def _software() -> Iterator[Found]:
    versions = f"ansible-core {core_version} on Python {'.'.join(map(str, sys.version_info[:3]))}, {_own_version()}"
    if _version(core_version) < _CORE_LEAST:
        yield Found("core-too-old", versions=versions)
    elif _version(core_version) > _CORE_TESTED:
        yield Found("core-untested", versions=versions)
    else:
        yield Found("versions", versions=versions)
    problem = requests_is_missing()
    if problem is not None:
        yield Found("requests-missing", problem=problem)
        return
    try:
        version = importlib.metadata.version("requests")
    except importlib.metadata.PackageNotFoundError:
        version = "of unknown version"
    old = version[0].isdigit() and _version(version) < _REQUESTS_LEAST
    problem = reader.import_problem()
    if problem is not None:
        yield Found("requests-broken", version=version, problem=problem, python=sys.executable)
        return
    yield Found("requests-old" if old else "requests", version=version, python=sys.executable)


def _callback() -> Iterator[Found]:
    file = C.CONFIG_FILE
    yield Found("configuration" if file else "configuration-none", file=file)
    if not file and os.path.exists("ansible.cfg"):
        yield Found("configuration-ignored")
    enabled, origin = C.config.get_config_value_and_origin("CALLBACKS_ENABLED")
    names = [str(name).strip() for name in enabled or ()]
    if _options.CALLBACK in names:
        yield Found("callback", origin=origin_in_words(origin))
    else:
        yield Found(
            "callback-not-enabled",
            origin=origin_in_words(origin),
            names=", ".join(names) or Text("no callback", "无"),
            file=file or "ansible.cfg",
            callback=_options.CALLBACK,
        )


def _secrets(options: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Found]:
    name = next((name for name in KEY_OPTIONS if options.get(name)), KEY_OPTIONS[0])
    yield Found("integration-key", name=name, origin=origins.get(name, "the task"))
    files = {}
    for option in (name, "app_key", *OUTBOX_URL_OPTIONS):
        # The path of a secret is none, so only the file that it names is looked at.
        path = options.get(option) if option.endswith("_file") else origins.get(option, "")
        if options.get(option) and os.path.isfile(os.path.expanduser(str(path))):
            files[option] = path
    for option, path in files.items():
        path = os.path.expanduser(str(path))
        if os.stat(path).st_mode & 0o077:
            yield Found("key-file-open", path=path, option=option)


def _network(connection: Connection) -> Iterator[Found]:
    url = connection.api_url
    try:
        probe = reader.ask("probe", connection, {})
    except ApiError as error:
        yield Found("api-not-asked", url=url, problem=error)
        return
    proxy = probe["proxy"]
    yield Found("proxy" if proxy else "proxy-none", proxy=proxy)
    own = probe["own"]
    if own["status"] is None:
        yield Found("api-no-answer", url=url, problem=own["message"], proxy=f"{proxy}, " if proxy else "")
        return
    yield Found("api-slow" if probe["seconds"] > _SLOW else "api", url=url, seconds=probe["seconds"])
    if urllib.parse.urlsplit(url).scheme == "http":
        yield Found("tls-none")
    elif connection.validate_certs:
        yield Found("tls", authorities=connection.ca_path or Text("the usual authorities", "通用证书机构"))
    else:
        yield Found("tls-unchecked")
    yield _clock(probe["skew"])
    yield _key_verdict(own, probe["other"])
    yield _app_key_verdict(connection, probe["app"])


def _clock(skew: float | None) -> Found:
    if skew is None:
        return Found("clock-unknown")
    if abs(skew) <= _SKEW_HARMLESS:
        return Found("clock")
    return Found("clock-ahead" if skew > 0 else "clock-behind", seconds=abs(skew))


def _key_verdict(own: Mapping[str, Any], other: Mapping[str, Any]) -> Found:
    """What the answers to an empty event show, sent once with our key and once with a key that cannot be right."""
    said = f"{own['message']} (request_id {own['request_id'] or 'none'})"
    if own["code"] is None:
        return Found("key-not-flashduty", said=said)
    if own["code"] != "InvalidParameter":
        known = {"ResourceNotFound": "key-not-bought", "NoLicense": "key-no-license"}
        return Found("key-not-now" if own["retry"] else known.get(str(own["code"]), "key-refused"), said=said)
    if "integration_key" in own["message"]:
        return Found("key-wrong", said=said)
    if other["code"] == "InvalidParameter" and "integration_key" in other["message"]:
        return Found("key")
    return Found("key-unknown")


def _app_key_verdict(connection: Connection, answer: Mapping[str, Any] | None) -> Found:
    if connection.app_key is None or answer is None:
        return Found("app-key-none")
    if answer["status"] == 200:
        return Found("app-key")
    said = f"{answer['message']} (request_id {answer['request_id'] or 'none'})"
    return Found("app-key-not-now" if answer["retry"] else "app-key-refused", said=said)


# ---- the outbox


def _shared_outboxes(options: Mapping[str, Any], connections: Sequence[Connection]) -> Iterator[Found]:
    urls = [connection.outbox_url for connection in connections]
    with suppress(InvalidConnection):  # of which another finding tells
        urls.insert(0, outbox_url_of(options))
    for url in dict.fromkeys(urls):
        if url is not None:
            from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.doctor_shared import examine_shared

            yield from examine_shared(url, [each for each in connections if each.outbox_url == url])


def _outbox(state_dir: str) -> Iterator[Found]:
    if NO_SQLITE:
        yield Found("no-sqlite", problem=NO_SQLITE.partition(". ")[0])
        return
    with suppress(OSError):
        if problem := weakness(state_dir):
            yield Found("outbox-unsafe", problem=problem)
            yield from _spools(state_dir)
            return
    if not os.path.exists(state_dir):
        parent = state_dir
        while not os.path.exists(parent):
            parent = os.path.dirname(parent)
        if not os.access(parent, os.W_OK | os.X_OK):
            yield Found("outbox-not-makeable", folder=state_dir, parent=parent)
            return
        yield from _tried(parent, state_dir) or [Found("outbox-to-be-made", folder=state_dir)]
        return
    if not os.access(state_dir, os.W_OK | os.X_OK):
        yield Found("outbox-not-writable", folder=state_dir)
        return
    if os.stat(state_dir).st_mode & 0o077:
        yield Found("outbox-folder-open", folder=state_dir)
    if is_on_network(state_dir):
        yield Found("outbox-on-network", folder=state_dir)
    yield from _tried(state_dir, state_dir)
    if Outbox.exists(state_dir):
        yield from _state_of(state_dir)
    yield from _spools(state_dir)
    aside = set_aside_in(state_dir)
    if aside:
        yield Found("outbox-set-aside", files=counted(len(aside), "damaged file"), folder=state_dir)


def _of_others(state_dir: str, connections: Sequence[Connection]) -> Iterator[Found]:
    store = Store(state_dir, connections[0], only_look=True)

    def left_over(outbox: Outbox) -> list[LeftOver]:
        ours = {each.integration_id(outbox.salt) for each in connections}
        return [each for each in outbox.integrations.left_over() if each.integration not in ours]

    try:
        left = store.look(left_over) if store.exists else []
    except OutboxError:  # of which another finding tells
        return
    for each in left:
        yield Found("outbox-other-key", integration=each.name, what=each.text, flush=FLUSH)


def _spools(state_dir: str) -> Iterator[Found]:
    for folder in Outbox.spools(state_dir):
        yield Found("outbox-spool", folder=folder, flush=FLUSH)
        yield from _state_of(folder)


def _tried(place: str, state_dir: str) -> list[Found]:
    """What keeps a run from making what it needs, which is made in a folder of its own and removed."""
    try:
        with tempfile.TemporaryDirectory(prefix="flashduty-doctor-", dir=place) as trial:
            Database(trial).close()
            try_fifo(trial, state_dir)
    except (OSError, OutboxError) as error:
        return [Found("outbox-not-usable", folder=place, problem=error)]
    return []


def _state_of(folder: str) -> Iterator[Found]:
    import sqlite3  # which not every Python has

    path = os.path.join(folder, FILE_NAME)
    if stat.S_IMODE(os.stat(path).st_mode) & 0o077:
        yield Found("outbox-file-open", path=path)
    try:
        # Opened for reading only: what is damaged is set aside by the next run, not here.
        with closing(sqlite3.connect(f"file:{urllib.parse.quote(path)}?mode=ro", uri=True, timeout=5.0)) as database:
            states = dict(database.execute("SELECT state, count(*) FROM events GROUP BY state").fetchall())
            processes = [row[0] for row in database.execute("SELECT process FROM runs WHERE closed_at IS NULL")]
    except sqlite3.Error as error:
        yield Found("outbox-unreadable", path=path, problem=error)
        return
    waiting = states.get("waiting", 0) + states.get("sending", 0)
    if waiting:
        yield Found("outbox-waiting", events=counted(waiting, "event"), folder=folder, flush=FLUSH)
    else:
        yield Found("outbox-empty", folder=folder)
    if states.get("refused"):
        yield Found("outbox-refused", events=counted(states["refused"], "event"))
    gone = sum(_has_gone(text) for text in processes)
    if gone:
        yield Found("outbox-vanished-runs", runs=counted(gone, "run"), flush=FLUSH)


def _has_gone(text: str) -> bool:
    try:
        process = Process.from_text(text)
    except (ValueError, TypeError):
        return False
    return process.is_of_earlier_boot or (process.is_local and not process.is_alive())
