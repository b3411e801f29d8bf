# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flashduty's change API: how a push and a question for changes are answered, and what the store keeps of them."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Mapping

from flashduty_sandbox import rules
from flashduty_sandbox.answer import Answer, json_answer, refusal
from flashduty_sandbox.rate_limit import RateLimit
from flashduty_sandbox.rules import Refused, Request
from flashduty_sandbox.search import TooSlow
from flashduty_sandbox.store import ACCEPTED, Received, Store

_ACCOUNT = 1


class Exchange:
    """A request to the API on its way to a verdict."""

    def __init__(self, request: Request, request_id: str) -> None:
        self.request = request
        self.request_id = request_id
        self.integration_id: int | None = None
        self.arrival = time.time()

    @property
    def endpoint(self) -> str | None:
        """push or list; None where the request meant neither."""
        try:
            return rules.endpoint_of(self.request)
        except Refused:
            return None

    def received(self, verdict: str, status: int | None, message: str = "", fault: str | None = None) -> Received:
        """The request as the store keeps it."""
        return Received(
            received=self.arrival,
            request_id=self.request_id,
            method=self.request.method,
            path=self.request.path,
            integration_id=self.integration_id,
            verdict=verdict,
            status=status,
            message=message,
            fault=fault,
            user_agent=self.request.user_agent,
            body=self.request.body.decode("utf-8", "backslashreplace"),
            change_key=_storable(rules.peek_change_key(self.request.body)),
        )


class FlashdutyApi:
    """The two endpoints. Safe to use from many threads."""

    def __init__(
        self,
        store: Store,
        integrations: Mapping[str, int],
        app_keys: Mapping[str, int],
        pushes: RateLimit,
        reads: RateLimit,
    ) -> None:
        self._store = store
        # Replaced as a whole when the keys change.
        self.integrations = integrations
        self._app_keys = app_keys
        self._pushes = pushes
        self._reads = reads

    def answer(self, exchange: Exchange, fault: str | None) -> Answer:
        """Judge a request, keep it, and return the answer; `fault` is the kind of the fault that it met."""
        request_id = exchange.request_id
        try:
            if rules.endpoint_of(exchange.request) == "push":
                self._push(exchange, fault)
                return json_answer(200, {"request_id": request_id})
            rules.check_app_key(exchange.request, self._app_keys)
            if not self._reads.admit(_ACCOUNT):
                raise Refused("RequestTooFrequently", "too many requests for this account")
            data = self._find_changes(exchange.request)
            self._store.record(exchange.received(ACCEPTED, 200, fault=fault))
            return json_answer(200, {"request_id": request_id, "data": data})
        except Refused as refused:
            self._store.record(exchange.received(refused.code, refused.status, refused.recorded, fault))
            return refusal(refused, request_id)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            return refusal(Refused("InternalError", "internal error"), request_id)

    def _find_changes(self, request: Request) -> object:
        try:
            return self._store.find_changes(rules.judge_list(request, time.time()))
        except TooSlow as error:
            raise Refused("InvalidParameter", str(error)) from None

    def _push(self, exchange: Exchange, fault: str | None) -> None:
        integration = exchange.integration_id = self._integration_of(exchange.request)
        if not self._pushes.admit(integration):
            raise Refused("RequestTooFrequently", "too many requests for this integration")
        event = rules.judge_push(exchange.request, time.time())
        self._store.accept(exchange.received(ACCEPTED, 200, fault=fault), integration, event)

    def _integration_of(self, request: Request) -> int:
        try:
            return rules.integration_of(request, self.integrations)
        except Refused as refused:
            if self._store.knows("integration", rules.query_parameter(request.query, "integration_key") or ""):
                hint = ": a reset of the sandbox replaced it, read its file environment again"
                raise Refused(refused.code, refused.message + hint, refused.recorded + hint) from None
            raise


def _storable(text: str | None) -> str | None:
    """None for text with half a surrogate pair, too, which no file can hold."""
    return None if text is None or any("\ud800" <= character <= "\udfff" for character in text) else text
