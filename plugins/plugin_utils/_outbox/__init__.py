# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The outbox: every event lies here, durable, from before its first delivery until long after.

All of it is private to this collection, and may change in any release.

Whatever is true is in one SQLite file on the control node, which any number of processes share. An event's states:

    waiting ──▶ sending ──▶ delivered
       ▲           ├──────▶ refused    (Flashduty will never take it)
       └───────────┤
                   └──────▶ expired    (the task that wanted it gave up on it)
"""
