# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a task's event gets to Flashduty: by the courier, or through the host that the task is delegated to."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Mapping
from typing import Any

import pytest
from ansible.errors import AnsibleError
from deliveries import PATIENCE, statuses
from outboxes import LEASE, ME, event

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._http import Api
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import Outcome, PutResult
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.delivery import (
    MODULE,
    CourierDelivery,
    DelegatedDelivery,
    TaskDelivery,
)
from flashduty_sandbox.receiver import Receiver

ARGUMENTS = {"api_url": "https://of.the.other.host", "integration_key": "its key"}


class OtherHost:
    """The host that a task is delegated to: its module sends what it is given, unless another answer comes first."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.answers: list[Mapping[str, Any] | AnsibleError] = []
        self.calls: list[tuple[str, Mapping[str, Any]]] = []

    def execute(self, module: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        self.calls.append((module, arguments))
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, AnsibleError):
                raise answer
            return answer
        body = {name: value for name, value in arguments.items() if name not in (*ARGUMENTS, "timeout")}
        api = Api(self._connection)
        try:
            return {"changed": True, "request_id": api.push(json.dumps(body), arguments["timeout"])}
        except ApiError as error:
            return {"failed": True, "msg": error.message, "answer": error.to_dict()}
        finally:
            api.close()


@pytest.fixture
def other_host(connection: Connection) -> OtherHost:
    return OtherHost(connection)


@pytest.fixture
def delegated(store: Store, other_host: OtherHost) -> DelegatedDelivery:
    return DelegatedDelivery(store, other_host.execute, ARGUMENTS)


def put(store: Store, delivery: TaskDelivery, stored: ChangeEvent, watch: Watch | None = None) -> PutResult:
    return store.do(lambda outbox: outbox.put(stored, watch or Watch(ME), lease=delivery.lease))


def wait(delivery: TaskDelivery, put: PutResult, seconds: float = PATIENCE) -> None:
    def is_settled(outbox: Outbox) -> bool:
        found = outbox.events.outcome(put.uid)
        return found is not None and found.is_settled

    delivery.wait(is_settled, seconds, "a", put.claim)


def outcome(store: Store, uid: str) -> Outcome:
    found = store.look(lambda outbox: outbox.events.outcome(uid))
    assert found is not None
    return found


# By the courier


def test_the_courier_of_the_process_delivers(store: Store, receiver: Receiver, couriers: list[int]) -> None:
    delivery = CourierDelivery(store, Process.of(os.getpid()))
    stored = put(store, delivery, event())
    wait(delivery, stored)
    assert (outcome(store, stored.uid).state, statuses(receiver), len(couriers)) == ("delivered", ["Processing"], 1)


def test_the_courier_is_told_whose_end_closes_the_change(store: Store) -> None:
    delivery = CourierDelivery(store, ME)
    assert put(store, delivery, event(), Watch(ME, "left open")).changed
    assert len(store.look(lambda outbox: outbox.runs.open_of(ME))) == 1


def test_without_requests_no_courier_is_started(
    store: Store, couriers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = CourierDelivery(store, ME)
    stored = put(store, delivery, event())
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(OSError, match="pip install requests"):
        wait(delivery, stored)
    assert (outcome(store, stored.uid).state, couriers) == ("waiting", [])


# Through another host


def test_the_other_host_gets_the_event_the_way_to_the_api_and_the_time_that_it_has(
    store: Store, connection: Connection, delegated: DelegatedDelivery, other_host: OtherHost, receiver: Receiver
) -> None:
    stored = put(store, delegated, event())
    wait(delegated, stored)
    (arrived,) = receiver.events()
    assert other_host.calls == [(MODULE, {**ARGUMENTS, **arrived["body"], "timeout": connection.timeout})]
    found = outcome(store, stored.uid)
    assert (found.state, found.request_id) == ("delivered", arrived["request_id"])


def test_no_courier_gets_between_storing_and_sending(store: Store, delegated: DelegatedDelivery) -> None:
    put(store, delegated, event())
    found = store.do(lambda outbox: outbox.claims.claim(LEASE))
    assert isinstance(found, float)
    assert found > time.time()


def test_earlier_events_of_the_change_go_first_and_other_changes_wait(
    store: Store, delegated: DelegatedDelivery, receiver: Receiver
) -> None:
    for key in ("b", "a"):
        store.do(lambda outbox, key=key: outbox.put(event(key)))  # type: ignore[misc]
    wait(delegated, put(store, delegated, event("a", "Done")))
    assert (statuses(receiver), statuses(receiver, "b")) == (["Processing", "Done"], [])


def test_an_outage_that_a_courier_met_does_not_hold_up_who_has_another_way(
    store: Store, delegated: DelegatedDelivery, receiver: Receiver
) -> None:
    def fail(outbox: Outbox) -> None:
        outbox.put(event("b"))
        claim = outbox.claims.claim(LEASE)
        assert isinstance(claim, Claim)
        outbox.claims.failed(claim, ApiError("down", True), 0.0, time.time() + 3600)

    store.do(fail)
    wait(delegated, put(store, delegated, event()))
    assert statuses(receiver) == ["Processing"]


def test_a_refusal_is_recorded_with_what_flashduty_said(
    store: Store, delegated: DelegatedDelivery, receiver: Receiver
) -> None:
    receiver.faults.set("status", status=400, message="no such field")
    stored = put(store, delegated, event())
    wait(delegated, stored)
    found = outcome(store, stored.uid)
    assert (found.state, found.http_status, found.error_code) == ("refused", 400, "InvalidParameter")
    assert found.request_id == receiver.requests()[0]["request_id"]
    assert "no such field" in (found.error or "")


def test_what_the_api_did_not_answer_is_sent_again(
    store: Store, delegated: DelegatedDelivery, receiver: Receiver
) -> None:
    receiver.faults.set("reset", times=2)
    stored = put(store, delegated, event())
    wait(delegated, stored)
    assert (outcome(store, stored.uid).state, len(receiver.requests())) == ("delivered", 3)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (AnsibleError("cannot reach h1\nTraceback: ..."), "cannot reach h1"),
        ({"failed": True, "msg": "no Python"}, "no Python"),
        ({"failed": True, "module_stderr": "killed"}, "killed"),
        ({"failed": True}, "the module failed without a message"),
        # A module that failed has sent nothing, whatever else it returns.
        ({"failed": True, "msg": "no", "request_id": "r"}, "no"),
        ({"request_id": ""}, "the module failed without a message"),
    ],
)
def test_where_the_module_does_not_run_the_reason_is_told_at_once_and_the_event_waits(
    store: Store, delegated: DelegatedDelivery, other_host: OtherHost, answer: Any, told: str
) -> None:
    other_host.answers = [answer]
    stored = put(store, delegated, event())
    with pytest.raises(OSError, match=f"^{re.escape(told)}$"):
        wait(delegated, stored)
    assert (outcome(store, stored.uid).state, len(other_host.calls)) == ("waiting", 1)


def test_who_waits_for_another_sender_gives_up_in_time(
    store: Store, delegated: DelegatedDelivery, other_host: OtherHost
) -> None:
    def send(outbox: Outbox) -> None:
        outbox.put(event())
        assert isinstance(outbox.claims.claim(LEASE), Claim)

    store.do(send)
    stored = put(store, delegated, event("a", "Done"))
    started = time.monotonic()
    wait(delegated, stored, 0.1)
    assert 0.1 <= time.monotonic() - started < PATIENCE
    assert (outcome(store, stored.uid).state, other_host.calls) == ("waiting", [])


def test_what_is_settled_already_is_not_sent(store: Store, delegated: DelegatedDelivery, other_host: OtherHost) -> None:
    for _number in range(2):
        wait(delegated, put(store, delegated, event()))
    assert len(other_host.calls) == 1
