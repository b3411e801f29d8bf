# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Warnings and lines of output."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts import Text

NOTICES: Mapping[str, Text] = {
    # A run
    "not-reported": Text("this run is not reported to Flashduty: {problem}", "本次运行没有上报到 Flashduty：{problem}"),
    "hosts-not-reported": Text(
        "what runs on {hosts} is not reported to Flashduty: {problem}",
        "{hosts} 上的运行没有上报到 Flashduty：{problem}",
    ),
    "settings-kept": Text(
        "a play is reported with the settings of the one before it: {problem}",
        "有 play 沿用了前一个 play 的设置：{problem}",
    ),
    "something-missing": Text(
        "after an error, something is missing from what is reported; the final status will still be sent ({where})",
        "出错后，上报的内容有缺失；运行结束时的状态仍会上报（{where}）",
    ),
    "nothing-yet": Text(
        "nothing is reported yet; the next play is tried again ({where})",
        "尚未上报任何内容；下一个 play 会再次尝试（{where}）",
    ),
    "this-run": Text(
        "this run is reported to Flashduty as change {change}", "本次运行作为变更 {change} 上报到 Flashduty"
    ),
    "part-of-this-run": Text(
        "this run is reported to Flashduty, integration {integration}, as change {change}",
        "本次运行作为变更 {change} 上报到 Flashduty 的集成 {integration}",
    ),
    "and-more": Text(" and {count} more", " 等，另有 {count} 个"),
    "taken": Text(
        "Flashduty has accepted {taken} of {count} events of this run",
        "Flashduty 已接收本次运行 {count} 个事件中的 {taken} 个",
    ),
    "end-left": Text(
        "the end of this run is left to the courier: {problem}", "本次运行的结束由投递进程（courier）上报：{problem}"
    ),
    "template-failed": Text(
        "{option} has its default value, because its template failed: {why}",
        "{option} 使用默认值，其模板求值失败：{why}",
    ),
    "env-guessed": Text("env was guessed from {reason}", "env 的值推断自{reason}"),
    "preview-heading": Text(
        "Flashduty preview: this would be sent now; nothing is sent, nothing is stored",
        "Flashduty 预览：现在会发送以下内容；不发送，也不保存",
    ),
    "preview-masked": Text(
        "ansible-core prints $REDACTED$ for what a vault held; the value itself would be sent",
        "ansible-core 对 vault 中的值显示 $REDACTED$；实际会发送值本身",
    ),
    # Its delivery
    "no-answer-yet": Text("no answer yet", "尚无响应"),
    "courier-not-started": Text("the courier cannot be started: {problem}", "无法启动投递进程（courier）：{problem}"),
    "nobody-delivers": Text(
        "{events} not delivered ({reason}), kept in {folder};"
        " nothing delivers now. Once that is repaired, the next run does, or: {flush}",
        "{events}未送达（{reason}），保存在 {folder}；目前没有进程发送。修复之后，下一次运行会发送，或者执行：{flush}",
    ),
    "not-delivered-yet": Text(
        "{events} not delivered yet ({reason}), kept in {folder};"
        " delivery continues in the background, unless the end of this job stops it, and with the next run, or now:"
        " {flush}",
        "{events}尚未送达（{reason}），保存在 {folder}；后台会继续发送，除非进程随作业一起结束；下一次运行也会发送。"
        "要立即发送，请执行：{flush}",
    ),
    "not-delivered-in-container": Text(
        "{events} not delivered yet ({reason}), kept in {folder}; nothing delivers once ansible-playbook, the first"
        " process of its container, has ended. Where that folder outlives it, the next run does, or: {flush}",
        "{events}尚未送达（{reason}），保存在 {folder}；ansible-playbook 是容器的第一个进程，它结束后不再有进程发送。"
        "如果容器结束后该目录还在，下一次运行会发送，或者执行：{flush}",
    ),
    "given-up": Text(
        "{events} given up: {reason}. Their changes may stay in progress in"
        " Flashduty. Find out why it did not accept them: {doctor}",
        "{events}已放弃：{reason}。它们的变更可能一直显示为进行中。请查明 Flashduty 为什么没有接收：{doctor}",
    ),
    "refused": Text(
        "Flashduty refused {events}: {reason}"
        " (HTTP {http_status}, change {change_key}, request_id {request_id})."
        " Check the integration key and the labels",
        "Flashduty 拒绝了 {events}：{reason}（HTTP {http_status}，变更 {change_key}，request_id {request_id}）。"
        "请检查集成密钥和标签",
    ),
    "not-shared": Text(
        "the shared outbox cannot be used ({problem}): what is reported here is delivered from this machine's outbox"
        " alone, and entered there later. Until then no other machine can close or deliver it",
        "无法使用共享发件箱（{problem}）：这里上报的内容只从本机的发件箱发送，之后再登记到共享发件箱。"
        "在此之前，其他机器无法关闭或发送它",
    ),
    "of-other-integration": Text(
        "the outbox contains, for the integration {integration}, whose key this run does not have: {what}."
        " While its key is in use, flush with that key: {flush}. If it was replaced, let this integration"
        " deliver it: {flush} -e adopt={integration}",
        "发件箱中有集成 {integration} 的内容，而本次运行没有它的密钥：{what}。如果其密钥仍在使用，请用它执行：{flush}。"
        "如果其密钥已被替换，请让此集成接管：{flush} -e adopt={integration}",
    ),
    "outbox-damaged": Text(
        "the outbox was damaged; it is kept as {path}, and what could be read of it is in a new one",
        "发件箱已损坏，保留为 {path}；其中可以读取的内容已转入新的发件箱",
    ),
    "outbox-spool": Text(
        "the outbox cannot be used ({why}); {folder} is used instead, which may not survive a restart of this machine."
        " Repair it, or set state_dir to a folder of your own that can be written",
        "无法使用发件箱（{why}）；改用 {folder}，本机重启后它可能不再存在。"
        "请修复，或者把 state_dir 设为自己可写的文件夹",
    ),
    # Variables and labels
    "variables-unreadable": Text(
        "variables of {whose} cannot be read, labels and settings in them are missing: {why}",
        "无法读取 {whose} 的变量，其中的标签和设置不会生效：{why}",
    ),
    "host-by-host": Text(
        "labels: variables of {asked} of {hosts} hosts were read, reading all takes too long ({why})",
        "labels：只读取了 {hosts} 台主机中 {asked} 台的变量，全部读取耗时过长（{why}）",
    ),
    "label-refused": Text(
        "labels: {name} is left out because {why}; list it in label_vars to use it",
        "labels：没有使用 {name}，因为{why}；如需使用，请写入 label_vars",
    ),
    "label-templates-beyond": Text(
        "labels: {name} and other templates that need all variables of a host were worked out for {limit} hosts only",
        "labels：{name} 等需要主机全部变量的模板只为 {limit} 台主机求值",
    ),
    "label-groups-slow": Text(
        "label_groups: {entry!r} and the entries after it give no labels: matching it took more than {seconds} s of CPU"
        " time for {names} names of groups. Write it without repetitions that can divide a name in many ways, or as a"
        " name with a star",
        "label_groups：{entry!r} 及其后的条目不产生标签：匹配 {names} 个组名用了超过 {seconds} 秒 CPU 时间。"
        "请避免可以多种方式切分名称的重复，或改写为带星号的名称",
    ),
    "label-groups-invalid": Text(
        "label_groups: {entry!r} is left out, {problem}", "label_groups：没有使用 {entry!r}：{problem}"
    ),
    "label-vars-invalid": Text(
        "label_vars: {entry!r} is left out, give variable or label=variable",
        "label_vars：没有使用 {entry!r}，应为变量名或 标签=变量名",
    ),
    "labels-variable-invalid": Text(
        "{name} is left out, it must be a map of label keys and values; on the command line: {example}",
        "没有使用 {name}，它必须是标签键值的 map；在命令行写作：{example}",
    ),
    "labels-no-map": Text(
        "labels: the option is left out, it begins as a map and is no valid YAML or JSON",
        "labels：没有使用该选项，它以 map 开头，但不是有效的 YAML 或 JSON",
    ),
    "labels-no-pair": Text(
        "labels: {entry!r} is left out, give key=value,key=value or a map in YAML or JSON",
        "labels：没有使用 {entry!r}，应为 key=value,key=value，或 YAML、JSON 的 map",
    ),
    "labels-beyond": Text(
        "labels: {count} beyond the limit of {limit} are left out: {names}",
        "labels：最多 {limit} 个标签，多出的 {count} 个没有使用：{names}",
    ),
    "label-invalid": Text("labels: {name} is left out, {why}", "labels：没有使用 {name}：{why}"),
    "label-key-long": Text(
        "labels: the key {key!r} is left out, it has {length} characters, {limit} are allowed",
        "labels：没有使用键 {key!r}，它有 {length} 个字符，最多 {limit} 个",
    ),
    # A task
    "failed": Text("{problem}", "{problem}"),
    "not-reported-off": Text("not reported: flashduty_enabled is false", "没有上报：flashduty_enabled 为 false"),
    "not-reported-yet": Text(
        "not reported: nothing has changed yet, so there is no change to report to",
        "没有上报：目前还没有任何改动，没有可以上报到的变更",
    ),
    "no-answer": Text("no answer", "没有响应"),
    "nobody-now": Text("nobody can deliver it now: {problem}", "目前没有进程可以发送：{problem}"),
    "task-refused": Text(
        "Flashduty refused the event of change {change_key}: {reason}"
        " (HTTP {http_status}, request_id {request_id})."
        " Check the integration key and the event's fields",
        "Flashduty 拒绝了变更 {change_key} 的事件：{reason}（HTTP {http_status}，request_id {request_id}）。"
        "请检查集成密钥和事件的字段",
    ),
    "task-queued": Text(
        "not delivered within {seconds:g} s ({reason}). The event of change {change_key} stays in {folder} and goes out"
        " with the next run, or with: {flush}",
        "{seconds:g} 秒内未送达（{reason}）。变更 {change_key} 的事件保存在 {folder}，"
        "由下一次运行发送，或者执行：{flush}",
    ),
    "task-given-up": Text(
        "not delivered within {seconds:g} s ({reason}). The event of change {change_key} will not be sent any more."
        " Repeat the task when Flashduty can be reached, or set on_delivery_failure to queue",
        "{seconds:g} 秒内未送达（{reason}）。变更 {change_key} 的事件不会再发送。"
        "请在可以访问 Flashduty 时重复该任务，或者把 on_delivery_failure 设为 queue",
    ),
    "remote-state-unknown": Text(
        "the state of change {key} cannot be read from Flashduty: {reason}. The state that this machine reported last"
        " is used instead. Check app_key, or leave it out",
        "无法向 Flashduty 查询变更 {key} 的状态：{reason}。改为以本机上报过的内容为准。请检查 app_key，或者不设置它",
    ),
    "left-open": Text(
        "ansible-playbook ended before this change was reported as finished.",
        "ansible-playbook 结束时，该变更尚未上报为完成。",
    ),
    # A host's part in a change
    "part-of": Text("Part of the change {change_key} ({title}).", "属于变更 {change_key}（{title}）。"),
    "part-not-open": Text(
        "change {change_key} is not open in this run of ansible-playbook: no host has started it, or it was closed",
        "变更 {change_key} 在本次 ansible-playbook 运行中没有打开：没有主机开始它，或者它已被关闭",
    ),
    "reason": Text("{where}.{rollback}", "{where}。{rollback}"),
    "failed-at-task": Text("task {task} ({module})", "任务「{task}」（{module}）"),
    "failed-at-no-log": Text("a task with no_log", "启用了 no_log 的任务"),
    "failed-with": Text("{where}: {message}", "{where}：{message}"),
    "rolled-back": Text(" Rolled back.", "已回滚。"),
    "rollback-failed": Text(" The rollback failed at task {task}.", "回滚在任务「{task}」失败。"),
    "rollback-failed-no-log": Text(" The rollback failed.", "回滚失败。"),
    # Flush
    "flush-counts": Text(
        "{delivered} delivered, {waiting} waiting, {closed} closed, {refused} refused",
        "已送达 {delivered}，等待 {waiting}，已关闭 {closed}，被拒绝 {refused}",
    ),
    "flush-of-integration": Text("the integration {integration}: {text}", "集成 {integration}：{text}"),
    "flush-checked": Text("checked only: {text}", "仅检查：{text}"),
    "flush-adopted": Text(
        "of the integration {integration}, delivered with this key: {what}",
        "集成 {integration} 的内容已用此密钥发送：{what}",
    ),
    "flush-dropped": Text(
        "of the integration {integration}, given up: {what}", "集成 {integration} 的内容已放弃：{what}"
    ),
    "flush-left": Text(
        "of the integration {integration}, left for its own key: {what}",
        "集成 {integration} 的内容留给它自己的密钥：{what}",
    ),
    "flush-waits": Text(
        "{count} event still waits in {folder}: {reason}. Flush again later",
        "{folder} 中仍有 {count} 个事件在等待：{reason}。请稍后再执行 flush",
    ),
    "flush-wait": Text(
        "{count} events still wait in {folder}: {reason}. Flush again later",
        "{folder} 中仍有 {count} 个事件在等待：{reason}。请稍后再执行 flush",
    ),
    "flush-not-shared": Text(
        "The shared outbox cannot be used ({problem}), so only the outbox of this machine was flushed",
        "无法使用共享发件箱（{problem}），因此只处理了本机的发件箱",
    ),
    "stale": Text(
        "Never closed by its run: no event since {heard}, for {hours} h {minutes} min. Closed by flush.",
        "所属的运行没有关闭该变更：自 {heard} 起已有 {hours} 小时 {minutes} 分没有消息。由 flush 关闭。",
    ),
    "stale-unknown": Text(
        "stale changes cannot be read from Flashduty: {reason}", "无法向 Flashduty 查询长时间未关闭的变更：{reason}"
    ),
    # What is in the outbox
    "outbox-line": Text(
        "{when}  {state:<9}  {change_status:<10}  {change_key}{title} [{known}]{error}",
        "{when}  {state}  {change_status:<10}  {change_key}{title} [{known}]{error}",
    ),
    "outbox-error": Text(": {reason}", "：{reason}"),
    "outbox-none": Text("There are no such events in {folder}.", "{folder} 中没有符合条件的事件。"),
    "outbox-resent": Text(
        "{count} refused events wait again. Deliver now: {flush}",
        "{count} 个被拒绝的事件已重新等待发送。立即发送：{flush}",
    ),
    "outbox-unknown-id": Text(
        "{folder} holds no refused event {ids} whose text is kept. The ids are in brackets in the lines that"
        " state=refused shows",
        "{folder} 中没有保留正文的被拒绝事件 {ids}。state=refused 列出的各行中，方括号里就是事件的 ID",
    ),
    "outbox-not-shared": Text(
        "the shared outbox cannot be used ({problem}), so only the outbox of this machine is shown",
        "无法使用共享发件箱（{problem}），因此只显示本机的发件箱",
    ),
}
