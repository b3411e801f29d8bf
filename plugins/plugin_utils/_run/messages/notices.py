# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Warnings and lines of output, in each language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages import Text

NOTICES: Mapping[str, Text] = {
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
    "outbox-not-shared": Text(
        "the shared outbox cannot be used ({problem}), so only the outbox of this machine is shown",
        "无法使用共享发件箱（{problem}），因此只显示本机的发件箱",
    ),
    "no-answer-yet": Text("no answer yet", "尚无响应"),
    "events": Text("{count} events", "{count} 个事件"),
    "event": Text("{count} event", "{count} 个事件"),
    "nobody-delivers": Text(
        "{events} not delivered ({nobody}), kept in {folder};"
        " nothing delivers now. Once that is repaired, the next run does, or: {flush}",
        "{events}未送达（{nobody}），保存在 {folder}；目前没有进程发送。修复之后，下一次运行会发送，或者执行：{flush}",
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
    "courier-not-started": Text("the courier cannot be started: {problem}", "无法启动投递进程（courier）：{problem}"),
    "not-reported": Text("this run is not reported to Flashduty: {problem}", "本次运行没有上报到 Flashduty：{problem}"),
    "hosts-not-reported": Text(
        "what runs on {hosts} is not reported to Flashduty: {problem}",
        "{hosts} 上的运行没有上报到 Flashduty：{problem}",
    ),
    "settings-kept": Text(
        "a play is reported with the settings of the one before it: {problem}",
        "有 play 沿用了前一个 play 的设置：{problem}",
    ),
    "end-left": Text(
        "the end of this run is left to the courier: {problem}", "本次运行的结束由投递进程（courier）上报：{problem}"
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
    "left-open": Text(
        "ansible-playbook ended before this change was reported as finished.",
        "ansible-playbook 结束时，该变更尚未上报为完成。",
    ),
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
    "nobody-now": Text("nobody can deliver it now: {problem}", "目前没有进程可以发送：{problem}"),
    "no-answer": Text("no answer", "没有响应"),
    "stale": Text(
        "Never closed by its run: no event since {heard}, for {hours} h {minutes} min. Closed by flush.",
        "所属的运行没有关闭该变更：自 {heard} 起已有 {hours} 小时 {minutes} 分没有消息。由 flush 关闭。",
    ),
    "preview-heading": Text(
        "Flashduty preview: this would be sent now; nothing is sent, nothing is stored",
        "Flashduty 预览：现在会发送以下内容；不发送，也不保存",
    ),
    "preview-masked": Text(
        "ansible-core prints $REDACTED$ for what a vault held; the value itself would be sent",
        "ansible-core 对 vault 中的值显示 $REDACTED$；实际会发送值本身",
    ),
    "env-guessed": Text("env was guessed from {reason}", "env 的值推断自{reason}"),
    "remote-state-unknown": Text(
        "the state of change {key} cannot be read from Flashduty: {reason}. The state that this machine reported last"
        " is used instead. Check app_key, or leave it out",
        "无法向 Flashduty 查询变更 {key} 的状态：{reason}。改为以本机上报过的内容为准。请检查 app_key，或者不设置它",
    ),
    "stale-unknown": Text(
        "stale changes cannot be read from Flashduty: {reason}", "无法向 Flashduty 查询长时间未关闭的变更：{reason}"
    ),
    "not-reported-off": Text("not reported: flashduty_enabled is false", "没有上报：flashduty_enabled 为 false"),
    "not-reported-yet": Text(
        "not reported: nothing has changed yet, so there is no change to report to",
        "没有上报：目前还没有任何改动，没有可以上报到的变更",
    ),
    "part-not-open": Text(
        "change {change_key} is not open in this run of ansible-playbook: no host has started it, or it was closed",
        "变更 {change_key} 在本次 ansible-playbook 运行中没有打开：没有主机开始它，或者它已被关闭",
    ),
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
    "failed-at-task": Text("task {task} ({module})", "任务「{task}」（{module}）"),
    "failed-at-no-log": Text("a task with no_log", "启用了 no_log 的任务"),
    "failed-with": Text("{where}: {message}", "{where}：{message}"),
    "reason": Text("{where}.{rollback}", "{where}。{rollback}"),
    "rolled-back": Text(" Rolled back.", "已回滚。"),
    "rollback-failed": Text(" The rollback failed at task {task}.", "回滚在任务「{task}」失败。"),
    "rollback-failed-no-log": Text(" The rollback failed.", "回滚失败。"),
}


# The values that say why.
_REASONS = ("reason", "problem", "nobody")


def notice(language: str, name: str, **values: Any) -> str:
    """A text with these values.

    :param language: en or zh.
    :param name: one of :data:`NOTICES`.
    """
    if language == "zh":
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._run.messages.reasons import in_chinese

        values = {**values, **{why: in_chinese(values[why]) for why in _REASONS if why in values}}
    return NOTICES[name].filled(language, values)
