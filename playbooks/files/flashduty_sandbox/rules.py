# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judges one request to the change API, to the letter of its specification.

The rules are written down here a second time on purpose: the client has its own, and each checks the other.
Source: https://developer.flashcat.cloud/zh/flashduty/event-api/change-event for pushing and
https://docs.flashcat.cloud/en/api-reference/on-call/changes/change-read-list for reading.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, Literal, NoReturn
from urllib.parse import parse_qsl

PUSH_PATH = "/event/push/change/standard"
LIST_PATH = "/change/list"

HTTP_STATUS: Mapping[str, int] = {
    "InvalidParameter": 400,
    "InvalidContentType": 400,
    "MethodNotAllowed": 400,
    "ResourceNotFound": 400,
    "NoLicense": 400,
    "Unauthorized": 401,
    "AccessDenied": 403,
    "RouteNotFound": 404,
    "RequestTooFrequently": 429,
    "InternalError": 500,
}
CHANGE_STATUSES = ("Planned", "Ready", "Processing", "Canceled", "Done")
# Shown of a native integration's changes only; the specification of a push does not know it.
NATIVE_STATUSES = (*CHANGE_STATUSES, "Failed")
REQUIRED_FIELDS = ("change_status", "change_key", "title")
OPTIONAL_FIELDS = ("event_time", "description", "link", "labels")
LIST_FIELDS = (
    "start_time",
    "end_time",
    "p",
    "limit",
    "asc",
    "orderby",
    "query",
    "integration_ids",
    "channel_ids",
    "include_events",
)

INT64_MAX = 2**63 - 1
CLOCK_TOLERANCE_SECONDS = 1
DESCRIPTION_CHARACTERS = 2048
LABELS = 50
LABEL_KEY_CHARACTERS = 128
BODY_BYTES = 4 * 1024 * 1024
LIST_LIMIT = 100
LIST_LIMIT_DEFAULT = 10
LIST_REACH = 10_000
LIST_TOTAL = 1000
LIST_WINDOW_SECONDS = 31 * 24 * 3600
LIST_WINDOW_DEFAULT_SECONDS = 3600
CORRELATE_SECONDS = 2**53

Endpoint = Literal["push", "list"]

ENDPOINTS: Mapping[str, Endpoint] = {PUSH_PATH: "push", LIST_PATH: "list"}


class Refused(Exception):
    """A request that the API turns down.

    `code` is one of HTTP_STATUS, `message` goes to the client, `recorded` is that message without any key.
    """

    def __init__(self, code: str, message: str, recorded: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.recorded = message if recorded is None else recorded

    @property
    def status(self) -> int:
        """The HTTP status that the specification gives this code."""
        return HTTP_STATUS[self.code]


@dataclass(frozen=True)
class Request:
    """One HTTP request as it arrived. `body_problem` says why no body could be read; then `body` is empty."""

    method: str
    path: str
    query: str = ""
    headers: Message = field(default_factory=Message)
    body: bytes = b""
    body_problem: str = ""


@dataclass(frozen=True)
class Event:
    """An accepted change event. A field that the body left out is None."""

    change_status: str
    change_key: str
    title: str
    event_time: int | None
    description: str | None
    link: str | None
    labels: Mapping[str, str] | None


@dataclass(frozen=True)
class ListQuery:
    """An accepted question for changes. Times are Unix seconds, both inclusive; None and "" mean no filter."""

    start_time: int
    end_time: int
    page: int
    limit: int
    ascending: bool
    order_by: str
    text: str
    integration_ids: frozenset[int] | None
    channel_ids: frozenset[int] | None
    include_events: bool


@dataclass(frozen=True)
class CorrelateQuery:
    """An accepted question which changes an alert with these labels would bring up. Time and window are in seconds."""

    labels: Mapping[str, str]
    time: int
    window: int


def endpoint_of(request: Request) -> Endpoint:
    """Return which endpoint the request meant. Raises Refused for another path or method."""
    endpoint = ENDPOINTS.get(request.path)
    if endpoint is None:
        raise Refused("RouteNotFound", f"no route for {request.method} {request.path}")
    if request.method != "POST":
        raise Refused("MethodNotAllowed", f"method {request.method} is not supported, use POST")
    return endpoint


def number_of_key(request: Request, name: str, numbers: Mapping[str, int], code: str) -> int:
    """Return the number of the key that the query string carries as `name`. Raises Refused without a valid one."""
    key = query_parameter(request.query, name)
    if not key:
        raise Refused(code, f"{name} is required")
    if key not in numbers:
        raise Refused(code, f"{name} {key} is not a valid one", f"{name} *** is not a valid one")
    return numbers[key]


def judge_push(request: Request, now: float, statuses: Sequence[str] = CHANGE_STATUSES) -> Event:
    """Judge content type and body of a push at `now`, in Unix seconds. Raises Refused for the first rule broken."""
    fields = json_object(request)
    for name in REQUIRED_FIELDS:
        if name not in fields:
            _refuse(f"{name} is required")
        if not _string(name, fields[name]):
            _refuse(f"{name} must not be empty")
    _refuse_unknown(fields, REQUIRED_FIELDS + OPTIONAL_FIELDS)
    status = fields["change_status"]
    if status not in statuses:
        _refuse(f"change_status must be one of {', '.join(statuses)}, not {status!r}")

    event_time: int | None = None
    if "event_time" in fields:
        event_time = _integer("event_time", fields["event_time"], 1)
        if status != "Ready" and event_time > now + CLOCK_TOLERANCE_SECONDS:
            _refuse(f"event_time {event_time} lies in the future (seconds are expected), only a Ready event may")
    description: str | None = None
    if "description" in fields:
        description = _string("description", fields["description"])
        if len(description) > DESCRIPTION_CHARACTERS:
            _refuse(f"description has {len(description)} characters, at most {DESCRIPTION_CHARACTERS} are allowed")
    return Event(
        change_status=status,
        change_key=fields["change_key"],
        title=fields["title"],
        event_time=event_time,
        description=description,
        link=_string("link", fields["link"]) if "link" in fields else None,
        labels=_labels(fields["labels"]) if "labels" in fields else None,
    )


def judge_list(request: Request, now: float) -> ListQuery:
    """Judge content type and body of a question for changes at `now`, in Unix seconds. Raises Refused."""
    fields = json_object(request)
    _refuse_unknown(fields, LIST_FIELDS)
    if ("start_time" in fields) != ("end_time" in fields):
        _refuse("start_time and end_time go together: give both or neither")
    if "start_time" in fields:
        start = _integer("start_time", fields["start_time"], 1)
        end = _integer("end_time", fields["end_time"], 1)
        if end <= start:
            _refuse("end_time must be greater than start_time")
        if end - start >= LIST_WINDOW_SECONDS:
            _refuse("the time between start_time and end_time must be under 31 days")
    else:
        end = int(now)
        start = end - LIST_WINDOW_DEFAULT_SECONDS
    order_by = _string("orderby", fields.get("orderby", "start_time"))
    if order_by not in ("start_time", "last_time"):
        _refuse(f"orderby must be start_time or last_time, not {order_by!r}")
    page = _integer("p", fields.get("p", 1), 1)
    limit = _integer("limit", fields.get("limit", LIST_LIMIT_DEFAULT), 1, LIST_LIMIT)
    if page * limit > LIST_REACH:
        _refuse(f"p times limit must be at most {LIST_REACH}, not {page * limit}")
    return ListQuery(
        start_time=start,
        end_time=end,
        page=page,
        limit=limit,
        ascending=_boolean("asc", fields.get("asc", False)),
        order_by=order_by,
        text=_string("query", fields["query"]) if "query" in fields else "",
        integration_ids=_integers("integration_ids", fields.get("integration_ids", [])),
        channel_ids=_integers("channel_ids", fields.get("channel_ids", [])),
        include_events=_boolean("include_events", fields.get("include_events", False)),
    )


def judge_correlate(request: Request) -> CorrelateQuery:
    """Judge a question of the page. Raises Refused."""
    fields = json_object(request)
    _refuse_unknown(fields, ("labels", "time", "window"))
    labels = _object("labels", fields.get("labels"))
    return CorrelateQuery(
        labels={_string("a label key", key): _string(f"the value of label {key!r}", labels[key]) for key in labels},
        time=_integer("time", fields.get("time"), 0, CORRELATE_SECONDS),
        window=_integer("window", fields.get("window"), 0, CORRELATE_SECONDS),
    )


def body_length(headers: Message) -> int:
    """Return the length of the body in bytes by the request's headers. Raises Refused where it cannot be read so."""
    if "Transfer-Encoding" in headers:
        _refuse("Transfer-Encoding is not supported, send Content-Length")
    content_lengths = headers.get_all("Content-Length", [])
    if not content_lengths:
        _refuse("Content-Length is required")
    text = content_lengths[0].strip()
    if len(content_lengths) > 1 or not (text.isascii() and text.isdigit()) or len(text) > 18:
        _refuse("Content-Length is not valid")
    length = int(text)
    if length > BODY_BYTES:
        _refuse(f"the body has {length} bytes, at most {BODY_BYTES} are allowed")
    return length


def peek_change_key(body: bytes) -> str | None:
    """Return the change_key of a body that has not been judged, None where there is none."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return None
    key = fields.get("change_key") if isinstance(fields, dict) else None
    return key if isinstance(key, str) else None


def json_object(request: Request) -> dict[str, Any]:
    """Return the JSON object that the body is. Raises Refused where content type or body are anything else."""
    _check_content_type(request.headers.get_all("Content-Type", []))
    if request.body_problem:
        _refuse(request.body_problem)
    try:
        text = request.body.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse(f"the body is not UTF-8: byte {error.start} cannot be read")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        _refuse(f"the body is not valid JSON: {error}")
    if not isinstance(value, dict):
        _refuse("the body must be a JSON object")
    return value


def _refuse(message: str) -> NoReturn:
    raise Refused("InvalidParameter", message)


def query_parameter(query: str, name: str) -> str | None:
    """Return a parameter of a query string, None where it is missing. Raises Refused where it is given twice."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, encoding="utf-8", errors="strict")
    except ValueError:
        _refuse("the query string is not valid")
    values = [value for key, value in pairs if key == name]
    if len(values) > 1:
        _refuse(f"{name} is given more than once")
    return values[0] if values else None


def _check_content_type(values: Sequence[str]) -> None:
    media_type, *parameters = (part.strip() for part in (values[0] if len(values) == 1 else "").split(";"))
    charsets = [parameter.lower().replace('"', "") for parameter in parameters]
    if media_type.lower() != "application/json" or any(charset != "charset=utf-8" for charset in charsets):
        given = ", ".join(values) or "none"
        raise Refused("InvalidContentType", f"Content-Type must be application/json, not {given}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a key is given more than once")
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _refuse_unknown(fields: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = sorted(name for name in fields if name not in known)
    if unknown:
        _refuse(f"{unknown[0]!r} is not a known parameter")


def _type_name(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "an integer", float: "a number with a fraction", str: "a string", list: "a list"}
    return names.get(type(value), "an object")


def _string(name: str, value: object) -> str:
    if not isinstance(value, str):
        _refuse(f"{name} must be a string, not {_type_name(value)}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        _refuse(f"{name} is not valid Unicode: it holds half of a surrogate pair")
    return value


def _integer(name: str, value: object, least: int, most: int = INT64_MAX) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        _refuse(f"{name} must be an integer, not {_type_name(value)}")
    if not least <= value <= most:
        _refuse(f"{name} must be between {least} and {most}")
    return value


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        _refuse(f"{name} must be true or false, not {_type_name(value)}")
    return value


def _integers(name: str, value: object) -> frozenset[int] | None:
    if not isinstance(value, list):
        _refuse(f"{name} must be a list, not {_type_name(value)}")
    return frozenset(_integer(name, item, 0) for item in value) or None


def _object(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse(f"{name} must be an object, not {_type_name(value)}")
    return value


def _labels(value: object) -> dict[str, str]:
    labels = _object("labels", value)
    if len(labels) > LABELS:
        _refuse(f"labels has {len(labels)} entries, at most {LABELS} are allowed")
    for key, text in labels.items():
        _string("a label key", key)
        if not 1 <= len(key) <= LABEL_KEY_CHARACTERS:
            _refuse(f"a label key has {len(key)} characters, 1 to {LABEL_KEY_CHARACTERS} are allowed")
        _string(f"the value of label {key!r}", text)
    return labels
