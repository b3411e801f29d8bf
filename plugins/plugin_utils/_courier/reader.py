# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks Flashduty something from the control node, in a short-lived process of its own.

The workers of ansible-playbook are forks: HTTP in one of them can hang for ever on a lock that was held at the fork,
and each would pay for the import of ``requests``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils import _change_query
from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import ChangeQuery, Found
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import entry
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.client import requests_is_missing

# Seconds beyond its budget that the process may take to start and to answer.
_GRACE = 10.0
_FAILURES = (OSError, ValueError, subprocess.TimeoutExpired)


def find_changes(connection: Connection, query: ChangeQuery) -> Found:
    """The changes that Flashduty shows.

    :raises ApiError: where it could not be asked within the connection's ``timeout``.
    """
    return Found(**ask("find_changes", connection, asdict(query)))


def ask(question: str, connection: Connection, values: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of this module's process to a question.

    :param question: one of ``_ANSWERS``.
    :raises ApiError: where there is none within the connection's ``timeout``.
    """
    problem = requests_is_missing()
    if problem is not None:
        raise ApiError(problem, retry=False)
    asked = {"question": question, "connection": connection.to_dict(), "values": dict(values)}
    try:
        answer = _answered(asked, connection.timeout)
    except subprocess.TimeoutExpired:
        raise ApiError(f"no answer within {connection.timeout:g} s", retry=True) from None
    except _FAILURES as error:
        problem = f"the process that asks Flashduty failed: {connection.redact(_said(error))}"
        raise ApiError(problem, retry=True) from None
    if "failed" in answer:
        raise ApiError.from_dict(answer["failed"])
    result: dict[str, Any] = answer["answer"]
    return result


def import_problem() -> str | None:
    """Why a process of ours cannot be started, or cannot use ``requests``; None where it can."""
    try:
        _answered({}, 0.0)
    except _FAILURES as error:
        return _said(error)
    return None


def _answered(asked: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """What such a process answers within so many seconds beside its start.

    :raises OSError: it cannot be started.
    :raises ChildProcessError: it has failed; with its last words.
    :raises ValueError: it has answered nonsense.
    :raises subprocess.TimeoutExpired: it has not answered.
    """
    done = subprocess.run(
        entry.command("_courier.reader"),
        input=json.dumps({**asked, "import_path": entry.import_path()}).encode(),
        capture_output=True,
        env=entry.environment(),
        timeout=seconds + _GRACE,
        check=False,
    )
    if done.returncode != 0:
        words = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ChildProcessError(words or f"it ended with code {done.returncode} and without a message")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ChildProcessError) else f"{type(error).__name__}: {error}"


def main() -> None:
    """Answer the question on the standard input; without one, only find out whether that could be."""
    config = json.loads(sys.stdin.read())
    sys.path[:] = config["import_path"]
    from ansible_collections.flashcat.flashduty.plugins.module_utils._http import import_problem as problem_here

    problem = problem_here()
    if problem is not None:
        sys.exit(problem)
    if "question" not in config:
        print("{}")
        return
    connection = Connection(**config["connection"])
    try:
        answer = {"answer": _ANSWERS[config["question"]](connection, config["values"])}
    except ApiError as error:
        answer = {"failed": error.to_dict()}
    print(json.dumps(answer))


def _find_changes(connection: Connection, values: Mapping[str, Any]) -> dict[str, Any]:
    return asdict(_change_query.find_changes(connection, ChangeQuery(**values), connection.timeout))


def _probe(connection: Connection, _values: Mapping[str, Any]) -> dict[str, Any]:
    # Late, for it brings `requests`.
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.probe import probe

    return probe(connection)


_ANSWERS = {"find_changes": _find_changes, "probe": _probe}
