# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flashduty's change API: how a push and a question for changes are answered, and what the store keeps of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from flashduty_sandbox import rules
from flashduty_sandbox.answer import Answer, json_answer, refusal
from flashduty_sandbox.rate_limit import RateLimit
from flashduty_sandbox.rules import Refused, Request
from flashduty_sandbox.search import TooSlow
from flashduty_sandbox.store import Received, Store

_ACCOUNT = 1


class FlashdutyApi:
    """The two endpoints. Safe to use from many threads."""

    def __init__(
        self,
        store: Store,
        integrations: Mapping[str, int],
        app_keys: Iterable[str],
        pushes: RateLimit,
        reads: RateLimit,
    ) -> None:
        self._store = store
        # Replaced as a whole when the keys change.
        self.integrations = integrations
        self._app_keys = dict.fromkeys(app_keys, _ACCOUNT)
        self._pushes = pushes
        self._reads = reads

    def answer(self, request: Request, received: Received) -> Answer:
        """Judge a request, keep it, and return the answer."""
        answer: dict[str, object] = {"request_id": received.request_id}
        try:
            if rules.endpoint_of(request) == "push":
                self._push(request, received)
            else:
                answer["data"] = self._find_changes(request)
                self._store.record(received)
        except Refused as refused:
            received.verdict, received.status, received.message = refused.code, refused.status, refused.recorded
            self._store.record(received)
            return refusal(refused, received.request_id)
        return json_answer(200, answer)

    def _push(self, request: Request, received: Received) -> None:
        received.integration_id = self._integration_of(request)
        if not self._pushes.admit(received.integration_id):
            raise Refused("RequestTooFrequently", "too many requests for this integration")
        self._store.accept(received, rules.judge_push(request, time.time()))

    def _integration_of(self, request: Request) -> int:
        name = "integration_key"
        try:
            return rules.number_of_key(request, name, self.integrations, "InvalidParameter")
        except Refused as refused:
            if self._store.knows(rules.query_parameter(request.query, name) or ""):
                hint = ": a reset of the sandbox replaced it, read its file environment again"
                raise Refused(refused.code, refused.message + hint, refused.recorded + hint) from None
            raise

    def _find_changes(self, request: Request) -> object:
        account = rules.number_of_key(request, "app_key", self._app_keys, "Unauthorized")
        if not self._reads.admit(account):
            raise Refused("RequestTooFrequently", "too many requests for this account")
        try:
            return self._store.find_changes(rules.judge_list(request, time.time()))
        except TooSlow as error:
            raise Refused("InvalidParameter", str(error)) from None
