# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The attributes of the modules; a module documents those in which it differs."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode, where it sends and writes nothing.
    support: full
  diff_mode:
    description: Says what has changed, or in check mode would change, when in diff mode.
    support: none
  idempotent:
    description: Run again with the same options in the same state, it changes nothing.
    support: full
  action_group:
    description: Use C(group/flashcat.flashduty.flashduty) in C(module_defaults) to set options of all its modules.
    support: full
    membership:
      - flashcat.flashduty.flashduty
"""
