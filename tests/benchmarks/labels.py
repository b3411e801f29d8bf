# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the labels cost at the start of a play, beside asking ansible-core for the variables of each host.

``python tests/benchmarks/labels.py --json FILE`` prints a table and writes the numbers. Every size is measured in a
process of its own, on a generated inventory: one group for 20 hosts, 500 at most, each with a file of group_vars, in
an environment and a region; host_vars for one host in a hundred; one label by a template. One inventory more has a file
of twenty lines for every host, with one variable that is a label.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZES = (10, 100, 1_000, 10_000, 50_000)
GROUPS_MAX = 500
HOSTS_PER_GROUP = 20
HOST_VARS_EVERY = 100
# An inventory of so many has a file for every host.
HOSTS_WITH_FILES = 10_000
# As a host of a public inventory has it.
HOST_FILE = """---
datacenter: rdu3
eth0_ipv4_gw: 10.16.163.254
eth0_ipv4_ip: 10.16.{third}.{fourth}
ks_repo: http://10.16.163.49/repo/rhel/RHEL9-x86_64/
ks_url: http://10.16.163.49/repo/rhel/ks/kvm-rhel-9
vmhost: vmhost{rack:02}.example.com
volgroup: /dev/vg_guests
nrpe_procs_warn: 250
nrpe_procs_crit: 300
lvm_size: 30000
mem_size: 4096
num_cpus: 2
vpn: true
postfix_group: vpn
tcp_ports: [80, 443, 8080]
fas_client_groups: sysadmin-web,sysadmin-noc
csi_relationship: |
  This host is one of many.
  * relies on the proxies
"""
# Beyond these, what ansible-core takes for one host is multiplied.
ASKED_MAX = 200


def write_inventory(folder: Path, hosts: int, every_host: bool = False) -> None:
    """An inventory with group_vars and host_vars, and a playbook beside it.

    :param every_host: whether every host has a file.
    """
    folder.mkdir()
    groups = min(GROUPS_MAX, -(-hosts // HOSTS_PER_GROUP))
    lines = []
    for group in range(groups):
        lines += [f"[app{group}]", *(f"host{number:05}.example.com" for number in range(group, hosts, groups))]
    for env in range(4):
        lines += [f"[env_stage{env}:children]", *(f"app{group}" for group in range(groups) if group % 4 == env)]
    for region in range(10):
        lines += [f"[region_r{region}:children]", *(f"app{group}" for group in range(groups) if group % 10 == region)]
    (folder / "hosts").write_text("\n".join(lines) + "\n", encoding="utf-8")
    group_vars, host_vars = folder / "group_vars", folder / "host_vars"
    group_vars.mkdir()
    host_vars.mkdir()
    (group_vars / "all.yml").write_text('cluster: "{{ datacenter }}-1"\ndatacenter: dc1\n', encoding="utf-8")
    for group in range(groups):
        text = f"service: service{group}\nteam: team{group % 20}\nhttp_port: {8000 + group}\n"
        (group_vars / f"app{group}.yml").write_text(text, encoding="utf-8")
    for number in range(0, hosts, 1 if every_host else HOST_VARS_EVERY):
        text = f"owner: owner{number % 7}\ndatacenter: dc{number % 3}\n"
        if every_host:
            text = HOST_FILE.format(third=number // 250, fourth=number % 250, rack=number % 40)
        (host_vars / f"host{number:05}.example.com.yml").write_text(text, encoding="utf-8")
    (folder / "site.yml").write_text("- hosts: all\n  gather_facts: false\n", encoding="utf-8")


def loaded_play(folder: Path) -> tuple[Any, list[Any]]:
    """The play and its hosts, as ansible-playbook holds them when the play starts."""
    from ansible import context
    from ansible.inventory.manager import InventoryManager
    from ansible.module_utils.common.collections import ImmutableDict
    from ansible.parsing.dataloader import DataLoader
    from ansible.playbook import Playbook
    from ansible.plugins.loader import init_plugin_loader
    from ansible.vars.hostvars import HostVars
    from ansible.vars.manager import VariableManager

    init_plugin_loader()
    context.CLIARGS = ImmutableDict(tags=(), verbosity=0, extra_vars=())
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(folder / "hosts")])
    manager = VariableManager(loader=loader, inventory=inventory)
    HostVars(inventory, manager, loader)
    playbook = Playbook.load(str(folder / "site.yml"), variable_manager=manager, loader=loader)
    loader.set_basedir(str(folder))
    play = playbook.get_plays()[0]
    return play, inventory.get_hosts(play.hosts)


def labels_of(play: Any, hosts: list[Any]) -> dict[str, str]:
    """What the callback does for labels when a play starts."""
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.rules import LabelRules, RunLabels
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._labels.variables import targets
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._notices import Notices

    notices = Notices()
    variables = ("service", "cluster", "team", "owner", "env", "region", "datacenter", "ident", "instance", "job")
    rules = LabelRules.from_options(
        {"label_groups": ["env_*=env", "region_*=region"], "label_vars": variables}, notices
    )
    labels = RunLabels(rules, {"source": "ansible"}, notices)
    labels.add_play(targets(play, hosts, rules.variable_names, notices), "site.yml")
    found = labels.labels()
    notes = [notice.text for notice in notices.take()]
    if notes:
        raise SystemExit(f"the labels are not those of every host: {notes}")
    return found


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process."""
    gc.collect()
    started = time.process_time()
    work()
    return time.process_time() - started


def measured(hosts: int, memory: bool, every_host: bool) -> dict[str, Any]:
    """The numbers of one size; to be called once in a process, for ansible-core and we remember what was read."""
    with tempfile.TemporaryDirectory() as name:
        folder, another = Path(name, "measured"), Path(name, "warm")
        write_inventory(another, 1)
        labels_of(*loaded_play(another))
        write_inventory(folder, hosts, every_host)
        play, all_hosts = loaded_play(folder)
        if memory:
            gc.collect()
            tracemalloc.start()
            labels_of(play, all_hosts)
            return {"memory_peak_bytes": tracemalloc.get_traced_memory()[1]}
        asked = all_hosts[:: max(1, -(-hosts // ASKED_MAX))]
        labels_seconds = cpu_seconds(lambda: labels_of(play, all_hosts))
        play, all_hosts = loaded_play(folder)
        manager = play.get_variable_manager()
        core_seconds = cpu_seconds(lambda: [manager.get_vars(play=play, host=host) for host in asked])
        return {
            "hosts": hosts,
            "groups": len(manager._inventory.groups),
            "labels_cpu_seconds": round(labels_seconds, 4),
            "get_vars_cpu_seconds": round(core_seconds * hosts / len(asked), 3),
            "get_vars_hosts_asked": len(asked),
        }


def in_own_process(*arguments: str) -> dict[str, Any]:
    """What this program prints with these arguments."""
    command = [sys.executable, __file__, *arguments]
    result: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="HOSTS", help="numbers of hosts")
    parser.add_argument(
        "--with-files", type=int, default=HOSTS_WITH_FILES, metavar="HOSTS", help="hosts that have a file each"
    )
    parser.add_argument("--every-host", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measured(arguments.one, arguments.memory, arguments.every_host)))
        return
    import ansible.release

    rows = []
    print(f"ansible-core {ansible.release.__version__}, Python {platform.python_version()}, CPU seconds")
    print(f"{'hosts':>7} {'groups':>7} {'labels':>9} {'get_vars of each host':>22} {'times':>7} {'peak memory':>12}")
    sizes = [(hosts, False) for hosts in arguments.sizes] + [(arguments.with_files, True)]
    for hosts, every_host in sizes:
        options = ("--one", str(hosts), *(["--every-host"] if every_host else []))
        row = in_own_process(*options) | in_own_process(*options, "--memory")
        rows.append(row)
        if every_host:
            print("a file of host_vars for every host:")
        sign = " " if row["get_vars_hosts_asked"] == hosts else "~"
        print(
            f"{hosts:>7} {row['groups']:>7} {row['labels_cpu_seconds']:>9.3f} {sign}"
            f"{row['get_vars_cpu_seconds']:>21.2f} {row['get_vars_cpu_seconds'] / row['labels_cpu_seconds']:>6.0f}x"
            f" {row['memory_peak_bytes'] / 1e6:>9.1f} MB",
            flush=True,
        )
    print(f"~ multiplied from {ASKED_MAX} hosts or fewer")
    if arguments.json:
        report = {
            "benchmark": "labels",
            "ansible_core": ansible.release.__version__,
            "python": platform.python_version(),
            "sizes": rows[:-1],
            "with_files": rows[-1],
        }
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
