# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One change for each host of a large run, at the rate limits that Flashduty publishes."""

from __future__ import annotations

from pathlib import Path

from peers import CALLBACK, KEY, flashduty
from report import Finding, Target

from flashduty_sandbox.rate_limit import PER_MINUTE
from flashduty_sandbox.receiver import Receiver
from playbooks import DEBUG, Folder

_LEAST_OF_LIMIT = 0.9
_MOST_REFUSED = 0.01
_LONG = 900.0


def measure(path: Path, hosts: int) -> Finding:
    """A run with ``scope: host``: two events for each host."""
    folder = Folder(path, hosts)
    playbook = folder.playbook("site", DEBUG)
    wanted = 2 * hosts
    with Receiver(path / "receiver.sqlite3", integration_keys={KEY}) as receiver:
        environment = {**flashduty(receiver.url, path), "FLASHDUTY_SCOPE": "host"}
        # The courier stays until everything is delivered, the run does not.
        run = folder.run(playbook, CALLBACK, environment, _LONG, linger=60.0 * (2 + wanted / PER_MINUTE))
        requests = receiver.requests()
        arrived = len(receiver.events())
        still_open = sum(change["change_status"] == "Processing" for change in receiver.changes())
    moments = [request["received"] for request in requests]
    seconds = max(moments) - min(moments)
    refused = sum(request["status"] == 429 for request in requests)
    rate = 60.0 * arrived / seconds
    # The limits let a thousand in at once, and only then do they hold to a rate.
    held_to_a_rate = wanted > PER_MINUTE
    return Finding(
        f"Scope host: {hosts:,} hosts, a receiver that enforces the published limits",
        ["what", "found"],
        [
            ["events that arrived", f"{arrived:,} of {wanted:,}"],
            ["changes left open", str(still_open)],
            ["requests refused with 429", f"{refused}, {100 * refused / len(requests):.2f} %"],
            ["from the first request to the last", f"{seconds:.1f} s"],
            ["rate", f"{rate:.0f}/min, {rate / PER_MINUTE:.2f} of the limit"],
            ["ansible-playbook itself", f"{run.wall:.1f} s, of which {run.end:.1f} s after the last result"],
        ],
        [
            Target(f"all {wanted:,} events arrive", f"{arrived:,}", arrived == wanted and still_open == 0),
            Target("429 under 1 %", f"{100 * refused / len(requests):.2f} %", refused < _MOST_REFUSED * len(requests)),
            Target(
                f"at least {_LEAST_OF_LIMIT} of {PER_MINUTE}/min",
                f"{rate / PER_MINUTE:.2f}",
                rate >= _LEAST_OF_LIMIT * PER_MINUTE if held_to_a_rate else None,
            ),
        ],
        [],
        {"hosts": hosts, "arrived": arrived, "refused": refused, "requests": len(requests), "seconds": seconds},
    )
