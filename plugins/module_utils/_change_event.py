# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The change event: its fields, limits, normal form and JSON.

Private to this collection; may change in any release.

Source of every rule: https://developer.flashcat.cloud/zh/flashduty/event-api/change-event
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Set
from types import MappingProxyType
from typing import Any, NamedTuple

STATUSES = ("Planned", "Ready", "Processing", "Canceled", "Done")
TERMINAL_STATUSES = frozenset({"Canceled", "Done"})
FIELDS = ("change_status", "change_key", "title", "event_time", "description", "link", "labels")

DESCRIPTION_MAX = 2048
LABELS_MAX = 50
LABEL_KEY_MAX = 128
# Documented for alert events only; a label that is to meet an alert's gains nothing from being longer.
LABEL_VALUE_MAX = 2048
# Seconds beyond this are the year 5138: such a number was meant as milliseconds.
_SECONDS_MAX = 10**11

_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_BREAKS = re.compile(r"[\t\n]+")


class InvalidValue(ValueError):
    """A value of an event or a question that the change API would refuse, found before anything was sent.

    The text names the field or option, the limit and what was given.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.field = name


def plain_text(text: str, lines: bool = False) -> str:
    """Text that every JSON reader accepts: no lone surrogates, no control characters.

    :param text: any string.
    :param lines: keep line breaks and tabs; otherwise they become spaces.
    """
    text = str(text).replace("\r\n", "\n")
    text = _CONTROLS.sub(" ", _SURROGATES.sub("\ufffd", text))
    return text if lines else _BREAKS.sub(" ", text)


def shortened(text: str, limit: int) -> str:
    """The text cut to at most ``limit`` characters, with an ellipsis, never inside a combined character."""
    if len(text) <= limit:
        return text
    end = limit - 1
    while end > 0 and (_joins(text[end]) or text[end - 1] == "\u200d"):
        end -= 1
    return (text[:end].rstrip() if end else text[: limit - 1]) + "…"


def _joins(character: str) -> bool:
    return (
        unicodedata.combining(character) != 0
        or character == "\u200d"
        or "\ufe00" <= character <= "\ufe0f"
        or "\U0001f3fb" <= character <= "\U0001f3ff"
    )


def label_text(value: Any) -> str | None:
    """A label value as a string: booleans as in YAML, numbers as Ansible shows them, lists joined by commas.

    :returns: None for null, empty text and empty lists, which make no label.
    :raises ValueError: for a map, or a list within a list.
    """
    if isinstance(value, Mapping):
        raise ValueError("a map is not a label value, give text, a number, a boolean or a list of those")
    if isinstance(value, (list, tuple, Set)):
        items = sorted(value, key=str) if isinstance(value, Set) else value
        if any(isinstance(item, (Mapping, Set, list, tuple)) for item in items):
            raise ValueError("a list of lists or maps is not a label value, give a flat list")
        texts = [label_text(item) for item in items]
        return ",".join(text for text in texts if text) or None
    return None if value is None else plain_text(_scalar(value)).strip() or None


def _scalar(value: Any) -> str:
    """Text as YAML would write it.

    :raises ValueError: for an integer of more digits than Python prints.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class ChangeEvent(NamedTuple):
    """One change event as Flashduty takes it. Make it with :meth:`validated`.

    :ivar change_status: one of Planned, Ready, Processing, Canceled, Done.
    :ivar change_key: the key that merges events into one change, usually the ticket number.
    :ivar title: the title of the change.
    :ivar event_time: when it happened, Unix seconds; None until the outbox takes the event.
    :ivar description: at most 2048 characters.
    :ivar link: address of the ticket.
    :ivar labels: at most 50, keys of at most 128 characters.
    """

    change_status: str
    change_key: str
    title: str
    event_time: int | None = None
    description: str | None = None
    link: str | None = None
    labels: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def validated(cls, fields: Mapping[str, Any], now: float) -> ChangeEvent:
        """The event in its normal form.

        :param fields: the API's own field names; null and empty optional fields count as absent.
        :param now: the present, Unix seconds.
        :raises InvalidValue: naming the field, the limit and what was given.
        """
        for name in fields:
            if name not in FIELDS:
                raise InvalidValue(str(name), f"not a field of a change event, known are {', '.join(FIELDS)}")
        status = _status(fields.get("change_status"))
        return cls(
            change_status=status,
            change_key=_required(fields, "change_key"),
            title=_required(fields, "title"),
            event_time=_event_time(fields.get("event_time"), status, now),
            description=_description(fields.get("description")),
            link=_text(fields.get("link"), "link").strip() or None,
            labels=_labels(fields.get("labels")),
        )

    @classmethod
    def from_json(cls, body: str) -> ChangeEvent:
        """The event whose :meth:`to_json` was stored."""
        return cls(**json.loads(body))

    def at(self, event_time: float) -> ChangeEvent:
        """The same event with its moment fixed, if none was given. Unix seconds."""
        return self if self.event_time is not None else self._replace(event_time=int(event_time))

    def to_dict(self) -> dict[str, Any]:
        """The fields that are present, in the order of the specification."""
        values = {name: getattr(self, name) for name in FIELDS}
        values["labels"] = dict(sorted(self.labels.items()))
        return {name: value for name, value in values.items() if value not in (None, {})}

    def to_json(self) -> str:
        """The request body."""
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"))

    def fingerprint(self) -> str:
        """Equal for events that say the same, whenever they say it."""
        content = {name: value for name, value in self.to_dict().items() if name not in ("event_time", "change_key")}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]

    @property
    def is_terminal(self) -> bool:
        """Whether the event closes its change."""
        return self.change_status in TERMINAL_STATUSES


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        text = f"a very long {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def _text(value: Any, name: str, lines: bool = False) -> str:
    if value is None:
        return ""
    if isinstance(value, (Mapping, list, tuple, Set)):
        raise InvalidValue(name, f"must be text, got a {type(value).__name__}: {_shown(value)}")
    try:
        return plain_text(_scalar(value), lines)
    except ValueError:
        raise InvalidValue(name, f"must be text, got {_shown(value)}") from None


def _status(value: Any) -> str:
    text = _text(value, "change_status")
    if text not in STATUSES:
        given = _shown(text) if text else "nothing"
        raise InvalidValue("change_status", f"must be one of {', '.join(STATUSES)} (case matters), got {given}")
    return text


def _required(fields: Mapping[str, Any], name: str) -> str:
    text = _text(fields.get(name), name).strip()
    if not text:
        raise InvalidValue(name, "is required and must not be empty")
    return text


def _description(value: Any) -> str | None:
    text = _text(value, "description", lines=True).strip()
    if len(text) > DESCRIPTION_MAX:
        raise InvalidValue("description", f"must have at most {DESCRIPTION_MAX} characters, got {len(text)}")
    return text or None


def _event_time(value: Any, status: str, now: float) -> int | None:
    if value is None or value == "":
        return None
    seconds = unix_seconds(value, "event_time")
    if seconds > now and status != "Ready":
        raise InvalidValue(
            "event_time",
            f"only a Ready event may be in the future, got {_shown(value)} with {status}, "
            f"which is {max(1, int(seconds - now))} s ahead of this machine's clock",
        )
    return seconds


def unix_seconds(value: Any, name: str) -> int:
    """A moment given as Unix seconds or ISO 8601 with a time zone, in Unix seconds.

    :param name: the field that the error names.
    :raises InvalidValue: where it is neither, lies before 1970, or looks like milliseconds.
    """
    seconds = _seconds(value, name)
    if seconds >= _SECONDS_MAX:
        raise InvalidValue(name, f"must be in seconds, got {_shown(value)}, which looks like milliseconds")
    if seconds <= 0:
        raise InvalidValue(name, f"must be after 1970-01-01T00:00:00Z, got {_shown(value)}")
    return seconds


def _seconds(value: Any, name: str) -> int:
    if isinstance(value, datetime.datetime):
        value = value.isoformat()
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise InvalidValue(name, f"must be Unix seconds or ISO 8601 with a time zone, got {_shown(value)}")
    try:
        return int(float(value)) if not isinstance(value, int) else value
    except OverflowError:
        raise InvalidValue(name, f"must be a finite number of seconds, got {_shown(value)}") from None
    except ValueError:
        pass
    try:
        moment = _iso_8601(str(value).strip())
        seconds = None if moment.tzinfo is None else int(moment.timestamp())
    except (ValueError, OverflowError):
        raise InvalidValue(
            name,
            f"must be Unix seconds or ISO 8601 with a time zone (2026-01-31T08:00:00+08:00), got {_shown(value)}",
        ) from None
    if seconds is None:
        raise InvalidValue(name, f"has no time zone: {_shown(value)}. Append Z or an offset such as +08:00")
    return seconds


def _iso_8601(text: str) -> datetime.datetime:
    # Python 3.10 and older read neither Z nor an offset without a colon.
    text = re.sub(r"[zZ]$", "+00:00", text)
    text = re.sub(r"([+-]\d{2})(\d{2})$", r"\1:\2", text) if "T" in text.upper() or " " in text else text
    return datetime.datetime.fromisoformat(text)


def _labels(value: Any) -> dict[str, str]:
    if value is None or value == "":
        return {}
    if not isinstance(value, Mapping):
        raise InvalidValue("labels", f"must be a map of names to values, got {_shown(value)}")
    labels: dict[str, str] = {}
    for raw_key, raw_value in value.items():
        key = _text(raw_key, "labels").strip()
        where = f"labels[{_shown(key)}]"
        if not key:
            raise InvalidValue("labels", "must not have an empty name")
        if len(key) > LABEL_KEY_MAX:
            raise InvalidValue(where, f"must have a name of at most {LABEL_KEY_MAX} characters, got {len(key)}")
        if key in labels:
            raise InvalidValue(where, "is given twice")
        try:
            text = label_text(raw_value)
        except ValueError as error:
            raise InvalidValue(where, f"{error}, got {_shown(raw_value)}") from None
        if text is None:
            continue
        if len(text) > LABEL_VALUE_MAX:
            problem = f"must have at most {LABEL_VALUE_MAX} characters, got {len(text)}"
            raise InvalidValue(where, problem)
        labels[key] = text
    if len(labels) > LABELS_MAX:
        raise InvalidValue("labels", f"must be at most {LABELS_MAX}, got {len(labels)}")
    return labels
