# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults of the receiver: what networks, proxies and servers do to a client, to be switched on at will.

Each request to the API meets the first fault that fits it, in the order in which they were set, so that a row of faults
with `times` is a script. docs/sandbox.md says under *Faults* what each kind does and what its options mean.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flashduty_sandbox.rules import HTTP_STATUS

_MATCHING = ("times", "key", "endpoint")
# The options that each kind needs, and those that it takes beside them.
KINDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "delay": (("seconds",), ()),
    "hang": ((), ()),
    "drip": ((), ("seconds",)),
    "refuse": (("seconds",), ()),
    "reset": ((), ()),
    "lost_answer": ((), ()),
    "status": (("status",), ("retry_after", "error_code", "message")),
    "html": ((), ("status",)),
    "portal": ((), ()),
    "empty": ((), ()),
    "redirect": (("location",), ("status",)),
}
_NUMBERS = {"times": (int,), "seconds": (int, float), "status": (int,), "retry_after": (int, str)}
# The first code with a status stands for it.
_CODE_OF_STATUS = {status: code for code, status in reversed([*HTTP_STATUS.items()])}


@dataclass(frozen=True)
class Fault:
    """One fault. `seconds` are those of its kind; `retry_after` is in seconds, or a date as HTTP has it."""

    kind: str
    times: int | None = None
    key: str | None = None
    endpoint: str | None = None
    seconds: float = 1.0
    status: int = 0
    retry_after: int | str | None = None
    error_code: str | None = None
    message: str = "a fault of the sandbox"
    location: str = ""

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> Fault:
        """Return the fault that these options describe.

        Raises:
            ValueError: an unknown kind or option, a missing option, or a value of the wrong type or range.
        """
        given = dict(options)
        kind = given.pop("kind", None)
        if not isinstance(kind, str) or kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        needed, possible = KINDS[kind]
        allowed = {*needed, *possible, *(_MATCHING if kind != "refuse" else ())}
        for name, value in given.items():
            if name not in allowed:
                raise ValueError(f"{kind} takes no option {name!r}, only {', '.join(sorted(allowed)) or 'none'}")
            if not isinstance(value, _NUMBERS.get(name, (str,))) or isinstance(value, bool):
                raise ValueError(f"{name} has a value of the wrong type")
        for name in sorted(set(needed) - given.keys()):
            raise ValueError(f"{kind} needs the option {name}")
        fault = cls(kind=kind, **given)
        if fault.status == 0:
            fault = dataclasses.replace(fault, status={"html": 502, "redirect": 302}.get(kind, 200))
        if not 200 <= fault.status <= 599 or fault.status in (204, 304):
            raise ValueError("status must be between 200 and 599, and one that has a body")
        if kind == "redirect" and fault.status not in (301, 302, 303, 307, 308):
            raise ValueError("status of a redirect must be 301, 302, 303, 307 or 308")
        if not 0 <= fault.seconds < threading.TIMEOUT_MAX or (fault.times is not None and fault.times < 1):
            raise ValueError("seconds must not be negative or endless, times must be at least 1")
        if fault.endpoint not in (None, "push", "list"):
            raise ValueError("endpoint must be push or list")
        header = f"{fault.location}{fault.retry_after}"
        if not (header.isascii() and header.isprintable()):
            raise ValueError("a header value must be printable ASCII")
        return fault

    @property
    def code(self) -> str:
        """The error code that a `status` fault answers with."""
        return self.error_code or _CODE_OF_STATUS.get(self.status, "InternalError")

    def public(self) -> dict[str, Any]:
        """The options of this fault that differ from their defaults."""
        defaults = Fault(self.kind)
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"kind": self.kind} | {name: v for name, v in values.items() if v != getattr(defaults, name)}


class Active:
    """A fault that was set, and the requests that wait for it."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.left = fault.times
        self.over = threading.Event()

    def pause(self) -> None:
        """Wait for the fault's `seconds`, less when it is cleared."""
        self.over.wait(self.fault.seconds)


class Faults:
    """The faults of one receiver. Safe to use from many threads."""

    def __init__(self, refuse: Callable[[float], None], accept: Callable[[], None]) -> None:
        """`refuse` closes the receiver's port for some seconds, `accept` opens it before they are over."""
        self._refuse = refuse
        self._accept = accept
        self._lock = threading.Lock()
        self._set: list[Active] = []

    def set(self, kind: str, **options: Any) -> Fault:
        """Add a fault behind those already set. Raises ValueError."""
        fault = Fault.parse({"kind": kind, **options})
        if kind == "refuse":
            self._refuse(fault.seconds)
        else:
            with self._lock:
                self._set.append(Active(fault))
        return fault

    def clear(self) -> None:
        """End every fault at once; what they hold goes on or is closed."""
        with self._lock:
            faults, self._set = self._set, []
        for active in faults:
            active.over.set()
        self._accept()

    def take(self, endpoint: str | None, change_key: str | None) -> Active | None:
        """Return the fault that a request meets and count it, None where there is none."""
        with self._lock:
            for active in self._set:
                if active.left == 0 or active.fault.endpoint not in (None, endpoint):
                    continue
                if active.fault.key not in (None, change_key):
                    continue
                if active.left is not None:
                    active.left -= 1
                return active
        return None

    def public(self) -> list[dict[str, Any]]:
        """The faults that still wait for a request, as JSON knows them; `left` says for how many."""
        with self._lock:
            return [
                active.fault.public() | ({} if active.left is None else {"left": active.left})
                for active in self._set
                if active.left != 0
            ]
