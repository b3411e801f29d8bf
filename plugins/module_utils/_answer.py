# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What came of a request, where it was no success.

Private to this collection; may change in any release.

Apart from what sends requests: ansible-playbook itself must not import that, see ``_http.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(eq=False)
class ApiError(Exception):
    """A request that did not succeed. The text holds neither integration key nor app key.

    :ivar retry: whether the same request may succeed later.
    :ivar status: HTTP status, None where no answer came.
    :ivar code: Flashduty's error code, None where the answer was not Flashduty's.
    :ivar request_id: Flashduty's trace id of the request, for its support.
    :ivar retry_after: seconds the server asked to wait, None where it did not.
    :ivar server_time: the server's clock, Unix seconds; None where it sent none.
    """

    message: str
    retry: bool
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    server_time: float | None = None

    def __str__(self) -> str:
        return self.message

    @property
    def result(self) -> dict[str, Any]:
        """What a task returns beside the message."""
        error = {"code": self.code, "http_status": self.status, "message": self.message}
        return {"error": error, "request_id": self.request_id}

    def to_dict(self) -> dict[str, Any]:
        """For another process or host."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ApiError:
        """The error whose :meth:`to_dict` was sent."""
        return cls(**values)
