# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Flashduty's change API on 127.0.0.1, for people to try and for tests to rely on: what playbooks/sandbox.yml starts.

`python -I -S -B playbooks/files/flashduty_sandbox start` runs it. It needs Python 3.10 and its standard library only.
"""
