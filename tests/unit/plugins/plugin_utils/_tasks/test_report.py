# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task reports: when its event is stored, sent and given up, and what the task returns or fails with."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from deliveries import DirectDelivery, NoAnswer, OneTry, statuses
from outboxes import CONNECTION, ME

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import InvalidValue
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_query import (
    ChangeQuery,
    Found,
)
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import FILE_NAME, SCHEMA_VERSION
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.parts import Part
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.delivery import (
    CourierDelivery,
    Done,
    TaskDelivery,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.remote_state import RemoteState
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.report import Report, ReportFailed
from flashduty_sandbox.receiver import Receiver

# Seconds that a task waits for an answer that does not come.
SHORT = 0.1


class Tasks:
    """Makes the reports of the tasks of one ansible-playbook."""

    def __init__(self, store: Store, connection: Connection, delivery: TaskDelivery | None = None) -> None:
        self.store = store
        self.connection = connection
        self.direct = DirectDelivery(store, connection)
        self.notices = Notices()
        self._delivery = delivery or self.direct

    def report(self, remote: RemoteState | None = None, run: str | None = None, **options: Any) -> Report:
        given = {"change_key": "a", "change_status": "Processing", "title": "t", **options}
        return Report(given, self.connection, self.store, self._delivery, ME, run, remote, True, self.notices)

    def send(self, **options: Any) -> dict[str, Any]:
        return self.report(**options).send()

    def fails(self, **options: Any) -> ReportFailed:
        with pytest.raises(ReportFailed) as caught:
            self.send(**options)
        return caught.value

    def not_delivered(self, **options: Any) -> tuple[dict[str, Any], str]:
        """What a task returns whose event is not delivered, and what it says: as a warning where it is to queue it."""
        if options.get("on_delivery_failure") == "queue":
            report = self.report(**options)
            result, (warning,) = report.send(), self.notices.warnings()
            return result, warning
        failed = self.fails(**options)
        return failed.result, str(failed)

    def pending(self) -> int:
        return self.store.look(lambda outbox: outbox.events.pending())


@pytest.fixture
def tasks(store: Store, connection: Connection) -> Tasks:
    return Tasks(store, connection)


@pytest.fixture
def unanswered(store: Store, connection: Connection, receiver: Receiver) -> Tasks:
    """Tasks whose events nobody answers, and which do not wait long for that."""
    receiver.faults.set("reset")
    hasty = connection._replace(timeout=SHORT)
    return Tasks(store, hasty, NoAnswer(store, hasty))


@pytest.fixture
def undeliverable(store: Store, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Tasks:
    """Tasks where no courier can be started."""
    monkeypatch.setattr("sys.executable", "/no/such/python")
    return Tasks(store, connection, CourierDelivery(store, ME))


def test_a_shared_outbox_that_cannot_be_used_is_a_warning_where_there_is_to_be_one(
    store: Store, connection: Connection
) -> None:
    store.do(lambda outbox: outbox.claims.sharing_tried("it is down"))
    alone = Tasks(store, connection)
    assert (alone.send()["delivered"], alone.notices.warnings()) == (True, [])
    shared = connection._replace(outbox_url="postgresql://db")
    sharing = Tasks(Store(store.configured, shared), shared)
    assert sharing.send(title="u")["delivered"]
    (warning,) = sharing.notices.warnings()
    assert "(it is down)" in warning


class Shown:
    """What Flashduty shows: each question gets the next of these answers, the last one for ever."""

    def __init__(self, connection: Connection, *answers: list[dict[str, Any]] | ApiError) -> None:
        self._connection = connection
        self._answers = [*answers]
        self.notices = Notices()
        self.asked = 0

    def __call__(self, _query: ChangeQuery) -> Found:
        answer = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        if isinstance(answer, ApiError):
            raise answer
        return Found(answer, len(answer), False)

    @property
    def remote(self) -> RemoteState:
        return RemoteState(self._connection, self, os.devnull, self.notices)


def change(**fields: Any) -> dict[str, Any]:
    shown = {"change_key": "a", "change_status": "Processing", "title": "t", "last_time": int(time.time()) - 60}
    return {**shown, **fields}


def test_a_delivered_event_is_returned_as_it_was_sent(tasks: Tasks, receiver: Receiver) -> None:
    result = tasks.send(labels={"service": "shop"})
    (arrived,) = receiver.events()
    assert (result["changed"], result["delivered"], result["queued"]) == (True, True, False)
    assert result["request_id"] == arrived["request_id"]
    assert result["event"] == arrived["body"]
    assert result["diff"] == {"before": {}, "after": arrived["body"]}
    assert "error" not in result


def test_an_event_that_says_nothing_new_is_neither_sent_nor_waited_for(tasks: Tasks, receiver: Receiver) -> None:
    first = tasks.send()
    again = tasks.send()
    assert (again["changed"], again["delivered"], again["queued"]) == (False, True, False)
    assert again["request_id"] == first["request_id"]
    assert again["diff"]["before"] == again["diff"]["after"] == first["event"]
    assert (statuses(receiver), tasks.direct.waited) == (["Processing"], 1)


def test_what_the_change_was_before_is_the_diff(tasks: Tasks) -> None:
    first = tasks.send()
    second = tasks.send(title="another")
    assert second["diff"] == {"before": first["event"], "after": second["event"]}


@pytest.mark.parametrize(
    ("options", "sent"),
    [({}, 1), ({"force": True}, 2), ({"event_time": int(time.time()) - 60}, 2), ({"description": "more"}, 2)],
)
def test_what_makes_an_event_a_new_one(tasks: Tasks, receiver: Receiver, options: dict[str, Any], sent: int) -> None:
    tasks.send()
    assert tasks.send(**options)["changed"] is (sent == 2)
    assert len(receiver.events()) == sent


def test_what_flashduty_would_refuse_is_never_stored(tasks: Tasks) -> None:
    with pytest.raises(InvalidValue, match=r"description: .* 2048 .* 2049"):
        tasks.report(description="x" * 2049)
    assert not tasks.store.exists


def test_a_preview_compares_and_leaves_nothing_behind(tasks: Tasks, receiver: Receiver) -> None:
    assert tasks.report().preview()["changed"]
    assert not tasks.store.exists
    first = tasks.send()
    same, other = tasks.report().preview(), tasks.report(title="another").preview()
    assert (same["changed"], other["changed"]) == (False, True)
    assert same["diff"]["before"] == other["diff"]["before"] == first["event"]
    assert tasks.report(force=True).preview()["changed"]
    assert (tasks.pending(), len(receiver.events())) == (0, 1)


def test_a_preview_beside_an_outbox_that_cannot_be_read_takes_the_event_for_new(tasks: Tasks) -> None:
    tasks.send()
    with Outbox(tasks.store.configured, CONNECTION) as outbox, outbox.database.writing() as transaction:
        transaction.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    assert tasks.report().preview()["changed"]


# Not delivered


def test_a_refusal_fails_the_task_with_what_flashduty_said_and_is_told_once(tasks: Tasks, receiver: Receiver) -> None:
    receiver.faults.set("status", status=403, message="not yours")
    failed = tasks.fails()
    (request,) = receiver.requests()
    for told in ("change a", "not yours", "HTTP 403", request["request_id"]):
        assert told in str(failed)
    assert failed.result["error"]["code"] == "AccessDenied"
    assert failed.result["error"]["http_status"] == 403
    assert failed.result["request_id"] == request["request_id"]
    assert (failed.result["delivered"], failed.result["queued"]) == (False, False)
    assert tasks.store.do(lambda outbox: outbox.events.take_refusals()) == []


def test_with_queue_a_refusal_is_a_warning(tasks: Tasks, receiver: Receiver) -> None:
    receiver.faults.set("status", status=400, times=1)
    result, warning = tasks.not_delivered(on_delivery_failure="queue")
    assert (result["delivered"], result["queued"], result["changed"]) == (False, False, True)
    assert "HTTP 400" in warning


def test_what_opens_a_change_is_not_sent_after_its_task_has_failed(unanswered: Tasks, receiver: Receiver) -> None:
    failed = unanswered.fails()
    for told in (f"within {SHORT:g} s", "change a will not be sent any more", "set on_delivery_failure to queue"):
        assert told in str(failed)
    assert (failed.result["delivered"], failed.result["queued"]) == (False, False)
    receiver.faults.clear()
    unanswered.store.do(lambda outbox: outbox.claims.clear_pause())
    # Of that change only what comes later arrives.
    Tasks(unanswered.store, unanswered.connection._replace(timeout=60.0)).send(change_status="Done")
    assert statuses(receiver) == ["Done"]


@pytest.mark.parametrize("options", [{"change_status": "Done"}, {"on_delivery_failure": "queue"}])
def test_what_ends_a_change_or_is_to_be_queued_waits_for_the_next_run(
    unanswered: Tasks, options: dict[str, Any]
) -> None:
    result, text = unanswered.not_delivered(**options)
    assert f"change a stays in {unanswered.store.folder}" in text
    assert "flashcat.flashduty.flush" in text
    assert (result["delivered"], result["queued"]) == (False, True)
    assert unanswered.pending() == 1


def test_why_it_was_not_delivered_is_told(store: Store, connection: Connection, receiver: Receiver) -> None:
    receiver.faults.set("reset")
    failed = Tasks(store, connection, OneTry(store, connection)).fails(change_status="Done")
    assert "(the connection was closed before an answer arrived)" in str(failed)


@pytest.mark.parametrize(
    ("options", "left"), [({}, 0), ({"change_status": "Canceled"}, 1), ({"on_delivery_failure": "queue"}, 1)]
)
def test_where_nobody_can_deliver_the_task_does_not_wait(
    undeliverable: Tasks, options: dict[str, Any], left: int
) -> None:
    started = time.monotonic()
    result, text = undeliverable.not_delivered(**options)
    assert time.monotonic() - started < undeliverable.connection.timeout / 2
    assert "nobody can deliver it now" in text
    assert "/no/such/python" in text
    assert (result["queued"], undeliverable.pending()) == (bool(left), left)


def test_an_outbox_that_was_replaced_while_its_event_was_waited_for_is_no_delivery(
    store: Store, connection: Connection
) -> None:
    class Replacing(DirectDelivery):
        def wait(self, done: Done, seconds: float, change_key: str | None = None, claim: Claim | None = None) -> None:
            for path in Path(store.configured).iterdir():
                path.unlink()
            with Outbox(store.configured, connection) as outbox:
                assert done(outbox)

    failed = Tasks(store, connection, Replacing(store, connection)).fails()
    assert "the outbox was replaced meanwhile" in str(failed)
    assert (failed.result["delivered"], failed.result["queued"]) == (False, False)


def test_what_there_is_to_say_of_the_outbox_is_a_warning_of_the_task(tasks: Tasks) -> None:
    tasks.send()
    path = Path(tasks.store.configured) / FILE_NAME
    path.write_bytes(b"this is no database" * 1000)
    assert tasks.send(change_status="Done")["delivered"]
    (warning,) = tasks.notices.warnings()
    assert f"{path}.corrupt-" in warning


# What Flashduty shows


def test_what_flashduty_shows_already_is_not_stored(tasks: Tasks, receiver: Receiver) -> None:
    shown = Shown(tasks.connection, [change(title="t")])
    result = tasks.send(remote=shown.remote)
    assert (result["changed"], result["delivered"], result["queued"]) == (False, True, False)
    assert result["diff"]["before"] == result["diff"]["after"]
    assert (receiver.requests(), tasks.store.exists, shown.asked) == ([], False, 1)


def test_what_somebody_else_has_changed_is_sent_again(tasks: Tasks, receiver: Receiver) -> None:
    tasks.send()
    shown = Shown(tasks.connection, [change(change_status="Canceled", last_time=int(time.time()) + 60)])
    # As if its delivery were not of this moment: what was delivered since Flashduty was asked counts.
    with Outbox(tasks.store.configured, CONNECTION) as outbox, outbox.database.writing() as transaction:
        transaction.execute("UPDATE events SET settled_at = settled_at - 60")
    result = tasks.send(remote=shown.remote)
    assert (result["changed"], result["diff"]["before"]["change_status"]) == (True, "Canceled")
    assert statuses(receiver) == ["Processing", "Processing"]


@pytest.mark.parametrize("option", ["force", "cancel_on_exit"])
def test_what_is_sent_in_any_case_is_not_asked_about(tasks: Tasks, receiver: Receiver, option: str) -> None:
    shown = Shown(tasks.connection, [change()])
    assert tasks.send(remote=shown.remote, **{option: True})["changed"]
    assert (shown.asked, statuses(receiver)) == (0, ["Processing"])


def test_where_flashduty_cannot_be_asked_the_outbox_decides_and_the_task_warns(tasks: Tasks) -> None:
    tasks.send()
    shown = Shown(tasks.connection, ApiError("it is on fire", retry=True))
    assert not tasks.send(remote=shown.remote)["changed"]
    (warning,) = shown.notices.warnings()
    assert "it is on fire" in warning


def test_a_preview_compares_with_what_flashduty_shows(tasks: Tasks) -> None:
    shown = Shown(tasks.connection, [change()], [change(title="another")])
    same, other = (tasks.report(remote=shown.remote).preview() for _number in range(2))
    assert (same["changed"], other["changed"]) == (False, True)
    assert other["diff"]["before"]["title"] == "another"


# What the event belongs to


def open_runs(store: Store) -> list[str]:
    return store.look(lambda outbox: outbox.runs.open_of(ME))


def test_a_change_that_is_to_be_canceled_on_exit_is_a_run_of_its_process(tasks: Tasks) -> None:
    tasks.send(change_key="b")
    assert open_runs(tasks.store) == []
    tasks.send(cancel_on_exit=True)
    (run,) = open_runs(tasks.store)
    (canceled,) = tasks.store.look(lambda outbox: outbox.runs.canceled_events(run))
    assert (canceled.change_key, canceled.description) == ("a", Notices().said("left-open"))
    # Its end has nothing left to close.
    tasks.send(change_status="Done", cancel_on_exit=True)
    assert tasks.store.look(lambda outbox: outbox.runs.canceled_events(run)) == []


def test_an_event_of_the_callbacks_run_is_closed_with_that(tasks: Tasks, receiver: Receiver) -> None:
    tasks.store.do(lambda outbox: outbox.runs.open("the run", Watch(ME, "gone", "killed"), []))
    tasks.send(run="the run")
    (canceled,) = tasks.store.look(lambda outbox: outbox.runs.canceled_events("the run"))
    assert canceled.change_key == "a"
    assert statuses(receiver) == ["Processing"]


def part(host: str, outcome: str = "done") -> Part:
    return Part(host, outcome, "", "", time.time())


def test_the_last_host_closes_the_change(tasks: Tasks, receiver: Receiver) -> None:
    hosts = frozenset({"h1", "h2"})
    started = [tasks.report(cancel_on_exit=True).start(host)["changed"] for host in sorted(hosts)]
    assert started == [True, False]
    first = tasks.report(cancel_on_exit=True).end(part("h1"), hosts)
    assert first == {"changed": False, "change_key": "a", "change_status": "Processing"}
    last = tasks.report(cancel_on_exit=True).end(part("h2"), hosts)
    assert (last["changed"], last["delivered"], last["change_status"]) == (True, True, "Done")
    assert statuses(receiver) == ["Processing", "Done"]


def test_one_host_that_failed_makes_the_change_a_canceled_one(tasks: Tasks, receiver: Receiver) -> None:
    for host in ("h1", "h2"):
        tasks.report(cancel_on_exit=True).start(host)
    tasks.report(cancel_on_exit=True).end(part("h1", "failed"), frozenset({"h2"}))
    assert tasks.report(cancel_on_exit=True).end(part("h2"), frozenset())["change_status"] == "Canceled"
    assert statuses(receiver) == ["Processing", "Canceled"]


def test_the_end_of_a_change_that_is_not_open_is_an_error(tasks: Tasks) -> None:
    tasks.send()
    for _number in range(2):
        with pytest.raises(ReportFailed, match="change a is not open") as caught:
            tasks.report(cancel_on_exit=True).end(part("h1"), frozenset())
        assert caught.value.result == {}


@pytest.mark.parametrize("again", [False, True])
def test_without_labels_an_event_has_those_of_its_change_but_no_outcome_that_is_over(tasks: Tasks, again: bool) -> None:
    labels = {"service": "shop"}
    tasks.send(labels=labels, on_delivery_failure="queue")
    ended = tasks.send(change_status="Done", labels={**labels, "result": "ok"}, on_delivery_failure="queue")
    assert ended["changed"]
    later = tasks.report(change_status="Done" if again else "Processing").preview()
    assert (later["changed"], later["event"]["labels"]) == (
        (False, {**labels, "result": "ok"}) if again else (True, labels)
    )
    assert "labels" not in tasks.report(labels={}).preview()["event"]
