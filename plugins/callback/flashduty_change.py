# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: flashduty_change
type: notification
short_description: Report each playbook run to Flashduty as a change
version_added: 1.0.0
author: the flashcat.flashduty contributors (@flashcatcloud)
description:
  - Reports Processing when a playbook starts, and Done or Canceled when it ends, so that the person on call sees what
    Ansible changed beside the incident that it may have caused.
  - The final status follows the exit code. A run that is interrupted or killed is reported as Canceled.
  - O(title), O(description) and O(link) are templates over the play's variables and the variable C(flashduty_run). They
    are rendered for the first event of a change and again for its last one. If one fails, a warning says why, and the
    default is used.
  - C(flashduty_run) is a map of C(status) (V(Processing), V(Done) or V(Canceled)), C(text) (the default description),
    C(duration) (in seconds), C(hosts) and C(groups) (lists of names), C(counts) (how many hosts there are, C(hosts),
    and how many were C(ok), C(changed), C(failed), C(unreachable), C(stopped) and C(not_reached)), C(failed) (a list of
    maps of C(host), C(task), C(module) and C(path)), C(change_key), C(scope), C(target) (the host or group with these
    scopes), C(check_mode), C(play), C(playbook), C(actor), C(controller), C(system), C(job), C(job_url), C(branch) and
    C(revision).
  - A run reports to the integration that the variables of its hosts name. Where they name several, such as one in the
    C(group_vars) of each team, each integration gets changes of its own hosts, with their outcome.
  - A separate process, the courier, sends the events. A slow or unreachable API does not delay the tasks. Events that
    are not delivered stay in the outbox until the next run or the playbook C(flashcat.flashduty.flush) delivers them.
  - With C(-v), and in the file of E(ANSIBLE_LOG_PATH), it says once under which key and link the run is reported, and
    at the end how many of its events Flashduty has accepted.
  - Runs with C(--check) are not reported, unless O(report_check_mode) is set.
  - Options and C(flashduty_labels) can be set by variables of the inventory, group_vars, host_vars, plays, vars_files
    and include_vars, and by extra variables. Facts, registered results and C(set_fact) values set neither; only the
    templates O(title), O(description) and O(link) can read them.
  - An option with an empty value counts as not set, except O(label_groups) and O(label_vars).
requirements:
  - requests on the control node
  - enable it in ansible.cfg with C(callbacks_enabled = flashcat.flashduty.flashduty_change)
extends_documentation_fragment:
  - flashcat.flashduty.connection.plugin
options:
  enabled:
    description: Whether to report. Set the variable on a play that must not be reported.
    type: bool
    default: true
    env:
      - name: FLASHDUTY_ENABLED
    ini:
      - section: callback_flashduty_change
        key: enabled
    vars:
      - name: flashduty_enabled
  change_key:
    description:
      - The key of the change, usually the ticket's number.
      - The default is computed from the CI job, the playbooks, the inventory, C(--limit), C(--tags) and the pattern of
        the first play, so that a retry of the job is the same change, and another playbook or inventory in the job is
        another. Without a CI job, it is unique.
      - The variable C(flashduty_change_key) takes precedence over the environment and ansible.cfg.
    type: str
    env:
      - name: FLASHDUTY_CHANGE_KEY
    ini:
      - section: callback_flashduty_change
        key: change_key
  title:
    description:
      - The title of the change, a template. The default names the playbook and what it targets, such as
        C(site.yml on web, db), after the play's name if there is only one. With the scopes C(host) and C(group), the
        name of the host or group comes first.
      - Flashduty keeps the title and the description of a change's first event.
      - The variable C(flashduty_title) takes precedence over the environment and ansible.cfg.
    type: str
    env:
      - name: FLASHDUTY_TITLE
    ini:
      - section: callback_flashduty_change
        key: title
  description:
    description:
      - The description of the change, a template. The default, which a template has as C(flashduty_run.text), says who
        runs what where, and at the end first what failed and where, then counts and duration.
      - It is cut at 2048 characters. A run that is killed is described by the default.
      - The variable C(flashduty_description) takes precedence over the environment and ansible.cfg.
    type: str
    env:
      - name: FLASHDUTY_DESCRIPTION
    ini:
      - section: callback_flashduty_change
        key: description
  link:
    description:
      - Address of the ticket, a template. The default is the CI job's address.
      - The variable C(flashduty_link) takes precedence over the environment and ansible.cfg.
    type: str
    env:
      - name: FLASHDUTY_LINK
    ini:
      - section: callback_flashduty_change
        key: link
  labels:
    description:
      - Labels that override all others, as V(datacenter=nj,team=sre) or as a map in YAML or JSON. An empty value
        removes the label.
      - Labels of hosts and groups, and those of one run, come from the variable C(flashduty_labels), a map.
    type: raw
    env:
      - name: FLASHDUTY_LABELS
    ini:
      - section: callback_flashduty_change
        key: labels
  label_groups:
    description:
      - Names of inventory groups that give labels. A host in C(env_prod) gets C(env=prod) by V(env_*=env), where the
        star stands for the label's value.
      - V(prod=env) takes the whole name as the value, V(production=env=prod) states the value.
      - A regular expression that matches the whole name gives one label for each of its named groups, such as
        V((?P<env>prod|test\)_(?P<region>.+\)). In ansible.cfg and in the environment, it must not contain a comma.
      - If several groups of a host give one label, it has all their values. Inventory variables come before names
        of groups. An empty value turns this off. If several entries match one name and label, the first counts.
    type: list
    elements: str
    default: ['env_*=env', 'region_*=region', 'non_prod=env', 'pre_prod=env', '*_non_prod=env=non_prod',
      '*_pre_prod=env=pre_prod', 'production=env', 'prod=env', 'staging=env', 'stage=env', 'stg=env', 'qa=env',
      'uat=env', 'dev=env', '*_production=env=production', '*_prod=env=prod', '*_staging=env=staging',
      '*_stg=env=stg']
    env:
      - name: FLASHDUTY_LABEL_GROUPS
    ini:
      - section: callback_flashduty_change
        key: label_groups
    vars:
      - name: flashduty_label_groups
  label_vars:
    description:
      - Inventory variables that become labels, each alone (V(service)) or with the label's name
        (V(cluster=k8s_cluster)).
      - The default names count only in the inventory, group_vars, host_vars, the play, its C(vars_files) and extra
        variables, and only as a text or number of at most 200 characters. Names that you list count wherever
        Ansible has them, roles, facts and C(set_fact) included, with C(no_log), too.
      - If it is empty, no variable except C(flashduty_labels) becomes a label, and vars plugins other than Ansible's
        own are asked only for the settings.
    type: list
    elements: str
    default: [service, cluster, team, owner, env, environment, region, datacenter, dc, provider, project,
      ident, instance, job]
    env:
      - name: FLASHDUTY_LABEL_VARS
    ini:
      - section: callback_flashduty_change
        key: label_vars
    vars:
      - name: flashduty_label_vars
  label_group:
    description:
      - Which groups of the targeted hosts the label C(group) names. With V(named), those that the patterns of the plays
        name, such as C(web) and C(db) in C(web:db:&prod). With V(all), all groups of the hosts.
    type: str
    choices: [named, all]
    default: named
    env:
      - name: FLASHDUTY_LABEL_GROUP
    ini:
      - section: callback_flashduty_change
        key: label_group
    vars:
      - name: flashduty_label_group
  label_names_max:
    description:
      - How many names the labels C(host) and C(group) have at most; after them, C(+N) stands for the N others. With
        V(0), as many as Flashduty accepts.
    type: int
    default: 20
    env:
      - name: FLASHDUTY_LABEL_NAMES_MAX
    ini:
      - section: callback_flashduty_change
        key: label_names_max
    vars:
      - name: flashduty_label_names_max
  labels_at_end:
    description:
      - The labels of a change's later events. With V(same), those of its first event, so that no route takes its end
        elsewhere; what hosts that come later would add is in the description.
      - With V(union), those that all hosts so far give.
    type: str
    choices: [same, union]
    default: same
    env:
      - name: FLASHDUTY_LABELS_AT_END
    ini:
      - section: callback_flashduty_change
        key: labels_at_end
    vars:
      - name: flashduty_labels_at_end
  outcome_labels:
    description:
      - Whether the last event of a change says in labels how it ended. Flashduty shows the texts of the first event.
      - C(result) is C(ok), C(failed), C(unreachable), C(stopped), C(not_reached), C(interrupted) or C(killed).
        C(failed_host) names the hosts that failed or were unreachable, C(failed_task) the tasks at which they did so,
        and C(changed_hosts) is a number. A task with C(no_log) is C(no_log) there.
      - Labels of yours with these names stay as they are. Four of the 50 labels are kept free for them.
    type: bool
    default: true
    env:
      - name: FLASHDUTY_OUTCOME_LABELS
    ini:
      - section: callback_flashduty_change
        key: outcome_labels
    vars:
      - name: flashduty_outcome_labels
  scope:
    description:
      - How a run is divided into changes. With V(run), it is one change.
      - With V(host), one for each host that a play targets, with the labels of that host alone, so that its label
        C(host) equals that of an alert. The change key is that of the run, a slash, and the host.
      - With V(group), one for each group that the pattern of a play names, such as C(web) and C(db) in C(web:db:&prod).
        A host that comes in by another name, such as C(all), belongs to the groups that list it themselves, or to
        C(ungrouped).
      - A change begins with the first play that targets it, ends with the run, and has its own outcome. A host is
        Canceled when it failed or was unreachable, when the failures of others stopped it, and when a run that failed
        never reached it; a group, when one of its hosts is. The description names which. In a run that did not fail, a
        host without a task had nothing to do.
      - A task M(flashcat.flashduty.flashduty_change) without C(change_key) reports to the change of its host;
        with V(group), to that of the first of its host's groups.
      - Flashduty accepts 1000 events a minute. Further events are sent in the background; O(wait) limits how long the
        end of the run waits for them.
    type: str
    choices: [run, group, host]
    default: run
    env:
      - name: FLASHDUTY_SCOPE
    ini:
      - section: callback_flashduty_change
        key: scope
    vars:
      - name: flashduty_scope
  report_when:
    description:
      - With V(changed), nothing is reported until a task changes something, which suits runs that converge every half
        hour. Then the change is reported with the time at which it began, since Flashduty relates changes to incidents
        by their time. A run in which nothing changed is never reported, even when it fails.
      - With O(scope=host) and O(scope=group) this holds for each host and group.
      - A task counts when it ends with changed, also when it fails. Tasks M(flashcat.flashduty.flashduty_change)
        do not count; without C(change_key) they report nothing until there is a change that they can report to.
    type: str
    choices: [always, changed]
    default: always
    env:
      - name: FLASHDUTY_REPORT_WHEN
    ini:
      - section: callback_flashduty_change
        key: report_when
    vars:
      - name: flashduty_report_when
  report_check_mode:
    description:
      - Whether to report runs with C(--check). Their titles say so, they have the label C(check_mode=true), and their
        keys end in C(/check), so that a check never closes the change of its ticket.
    type: bool
    default: false
    env:
      - name: FLASHDUTY_REPORT_CHECK_MODE
    ini:
      - section: callback_flashduty_change
        key: report_check_mode
    vars:
      - name: flashduty_report_check_mode
  progress:
    description:
      - With V(play), each play reports its change as Processing again, and says how far the run has come, such as
        C(Progress 40%, play 3/5). With O(scope=host) and O(scope=group), the changes that the play targets.
    type: str
    choices: [none, play]
    default: none
    env:
      - name: FLASHDUTY_PROGRESS
    ini:
      - section: callback_flashduty_change
        key: progress
    vars:
      - name: flashduty_progress
  failure_detail:
    description:
      - What is sent about a failed task. With V(task), its name as the playbook has it, the module, and the file and
        line.
      - With V(message), the first 300 characters of its message as well, which may contain secrets.
      - Of a task with C(no_log), neither name nor message is sent. Arguments and results are never sent.
    type: str
    choices: [task, message]
    default: task
    env:
      - name: FLASHDUTY_FAILURE_DETAIL
    ini:
      - section: callback_flashduty_change
        key: failure_detail
    vars:
      - name: flashduty_failure_detail
  language:
    description:
      - The language of the default texts, of warnings, and of what this collection's tasks say, English or Chinese.
        With V(auto), Chinese where the first that is set of E(LC_ALL), E(LC_MESSAGES) and E(LANG) begins with C(zh),
        otherwise English. Errors of options are in English, as Ansible's own are.
    type: str
    choices: [auto, en, zh]
    default: auto
    env:
      - name: FLASHDUTY_LANGUAGE
    ini:
      - section: callback_flashduty_change
        key: language
    vars:
      - name: flashduty_language
  preview:
    description:
      - Whether to print the events, in full, instead of sending them. Nothing is sent and nothing is stored, and no key
        is needed. Tasks with M(flashcat.flashduty.flashduty_change) print theirs too.
      - They go to the standard output, or to the standard error where E(ANSIBLE_STDOUT_CALLBACK) names a callback that
        does not print as ansible-core's own do, such as V(ansible.posix.json).
      - C(FLASHDUTY_PREVIEW=1 ansible-playbook --check site.yml) shows the labels of a run without running it. The
        events are those of a run without C(--check), unless O(report_check_mode) is set.
    type: bool
    default: false
    env:
      - name: FLASHDUTY_PREVIEW
    ini:
      - section: callback_flashduty_change
        key: preview
    vars:
      - name: flashduty_preview
  wait:
    description:
      - The maximum number of seconds that the end of the playbook waits for delivery, or V(auto).
      - V(auto) is 2 seconds if delivery continues in the background after the run, and 10 seconds if all processes end
        with the job, as in a job of a CI system or of AWX, in a systemd service, and if the playbook is the command of
        a container.
      - It does not wait for an API that is down. It stops after one more attempt, or after three if the API has
        answered before.
      - Events that are left are delivered after the run, or by the next one.
    type: str
    default: auto
    env:
      - name: FLASHDUTY_WAIT
    ini:
      - section: callback_flashduty_change
        key: wait
    vars:
      - name: flashduty_wait
"""

EXAMPLES = r"""
# ansible.cfg: every run is reported. Groups such as env_prod and these three variables become labels.
#
#   [defaults]
#   callbacks_enabled = flashcat.flashduty.flashduty_change
#
#   [callback_flashduty_change]
#   integration_key_file = /etc/ansible/flashduty.key
#   label_groups = env_*=env
#   label_vars = service, cluster, rack

- name: Upgrade the database under the number of its ticket
  hosts: db
  vars:
    flashduty_change_key: CHANGE-002
    flashduty_title: "Upgrade the database on {{ flashduty_run.hosts | join(', ') }}"
    flashduty_link: https://tickets.example.com/CHANGE-002
    flashduty_labels:
      service: orders-db
  tasks:
    - name: Install the new version
      ansible.builtin.package:
        name: postgresql-18
        state: present

- name: Restart the web servers, with one change for each host that names the reason of a failure
  hosts: web
  serial: 1
  vars:
    flashduty_scope: host
    flashduty_failure_detail: message
  tasks:
    - name: Restart nginx
      ansible.builtin.service:
        name: nginx
        state: restarted

- name: Read what is deployed, which is no change
  hosts: web
  vars:
    flashduty_enabled: false
  tasks:
    - name: Read the version
      ansible.builtin.command: nginx -v
      changed_when: false
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ansible.plugins.callback import CallbackBase

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.run import Run


def _heard_by_the_run(method: Callable[..., None]) -> Callable[..., None]:
    """An error of ours must not fail the run: it is one warning, and what comes after it is heard all the same."""

    @functools.wraps(method)
    def guarded(self: CallbackModule, *args: Any, **kwargs: Any) -> None:
        if self._run is None:
            return
        try:
            method(self, self._run, *args, **kwargs)
        except Exception as error:
            self._run.failed(method.__name__, error)
        self._awaits_change = self._run.awaits_change

    return guarded


class CallbackModule(CallbackBase):
    """Tells the run what happens."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "flashcat.flashduty.flashduty_change"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._run: Run | None = None
        self._awaits_change = False

    def set_options(self, task_keys: Any = None, var_options: Any = None, direct: Any = None) -> None:
        """Leave them: they are resolved with each play, and what is wrong with one is told there.

        ansible-core would not load this callback where one with choices is set to nothing.
        """

    def v2_playbook_on_start(self, playbook: Any) -> None:
        try:
            if playbook._file_name == "__adhoc_playbook__":
                self.disabled = True
            elif self._run is None:
                # Not at the top: there an error would end the run, and who only asks for the options would wait for it.
                from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.run import Run

                self._run = Run(self._display)
        except Exception as error:
            self._display.warning(f"flashduty_change: this run is not reported: {type(error).__name__}: {error}")
        self._playbook_starts(playbook)

    @_heard_by_the_run
    def _playbook_starts(self, run: Run, playbook: Any) -> None:
        run.playbook_starts(str(playbook._file_name), playbook.get_plays())

    @_heard_by_the_run
    def v2_playbook_on_play_start(self, run: Run, play: Any) -> None:
        run.play_starts(play)

    @_heard_by_the_run
    def v2_playbook_on_task_start(self, run: Run, task: Any, is_conditional: bool) -> None:
        run.task_starts()

    @_heard_by_the_run
    def v2_playbook_on_handler_task_start(self, run: Run, task: Any) -> None:
        run.task_starts()

    def v2_runner_on_ok(self, result: Any) -> None:
        # Between any two forks of ansible-playbook: each object that is touched here is a page that the kernel copies.
        if self._awaits_change:
            self._task_ended(result)

    @_heard_by_the_run
    def _task_ended(self, run: Run, result: Any) -> None:
        if run.awaits_change and result.is_changed():
            run.task_changed(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._host_failed(result)
        # A task that changed something before it failed says so.
        self._task_ended(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._host_failed(result)

    @_heard_by_the_run
    def _host_failed(self, run: Run, result: Any) -> None:
        run.host_failed(result)

    @_heard_by_the_run
    def v2_playbook_on_stats(self, run: Run, stats: Any) -> None:
        run.playbook_ends(stats)
