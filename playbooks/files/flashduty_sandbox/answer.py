# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is sent back for a request."""

from __future__ import annotations

import json
from dataclasses import dataclass

from flashduty_sandbox.rules import Refused


@dataclass(frozen=True)
class Answer:
    """Status, body and headers of an HTTP response."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def json_answer(status: int, value: object, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """`value` as JSON."""
    return Answer(status, json.dumps(value).encode("ascii") + b"\n", headers=headers)


def refusal(refused: Refused, request_id: str) -> Answer:
    """An error as the API answers it."""
    error = {"code": refused.code, "message": refused.message}
    return json_answer(refused.status, {"request_id": request_id, "error": error})
