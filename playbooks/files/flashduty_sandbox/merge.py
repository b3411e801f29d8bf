# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the events of a change become the change that is shown.

"first" is what Flashduty documents for its native change integrations (AWX, Jira, Jenkins, Zadig, Flux, …); for the
custom integration it says only that events with one key merge. "last" is the other reading.

- first: title, description and link are those of the change's first event. Status and labels follow later events,
  except one that happened before the last one recorded. An event of the same status and second is recorded once.
- last: every field that an event has replaces the former one, in order of arrival; the status is that of the event that
  happened last.

A status of ENDED ends a change, and a later event reopens it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from flashduty_sandbox.rules import Event

Mode = Literal["first", "last"]
MODES: tuple[Mode, ...] = get_args(Mode)
ENDED = ("Done", "Canceled", "Failed")
DISCARDED = "an event of this change with the same status and the same second was recorded before"


@dataclass(frozen=True)
class Merged:
    """What the events of a change amount to. Times are Unix seconds.

    `started` says that an event was Processing: then the change starts with the earliest of those, else with its
    earliest event.
    """

    change_status: str
    title: str
    description: str
    link: str
    labels: Mapping[str, str]
    start_time: int
    last_time: int
    started: bool

    @classmethod
    def begin(cls, event: Event, event_time: int) -> Merged:
        """The change that its first event makes."""
        return cls(
            change_status=event.change_status,
            title=event.title,
            description=event.description or "",
            link=event.link or "",
            labels=event.labels or {},
            start_time=event_time,
            last_time=event_time,
            started=event.change_status == "Processing",
        )

    def take(self, event: Event, event_time: int, mode: Mode) -> Merged:
        """The change after one more event."""
        latest = event_time >= self.last_time
        processing = event.change_status == "Processing"
        if processing != self.started:
            start_time = event_time if processing else self.start_time
        else:
            start_time = min(event_time, self.start_time)
        text = (event.title, event.description, event.link) if mode == "last" else (None, None, None)
        labels = event.labels if latest or mode == "last" else None
        return Merged(
            change_status=event.change_status if latest else self.change_status,
            title=self.title if text[0] is None else text[0],
            description=self.description if text[1] is None else text[1],
            link=self.link if text[2] is None else text[2],
            labels=self.labels if labels is None else labels,
            start_time=start_time,
            last_time=max(event_time, self.last_time),
            started=processing or self.started,
        )

    def ignored(self, event: Event) -> list[str]:
        """The fields of an event that this change does not show."""
        names = ("change_status", "title", "description", "link", "labels")
        return [name for name in names if getattr(event, name) not in (None, getattr(self, name))]
