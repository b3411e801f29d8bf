# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox's page in a real Chromium."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect
from sandbox_page import KEY, LABELS, SECOND_KEY, Opened, OpenPage, Sandbox, fill, wait_until

from flashduty_sandbox.receiver import Receiver
from flashduty_sandbox.rules import CHANGE_STATUSES


def row(page: Page, title: str) -> Locator:
    """The row of the change with this title."""
    return page.locator(".row").filter(has=page.get_by_role("heading", name=title, exact=True))


def titles(page: Page) -> list[str]:
    texts: list[str] = page.locator(".row .title").all_inner_texts()
    return texts


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def toggle(page: Page, title: str) -> Locator:
    """Press the change's button; its row."""
    row(page, title).get_by_role("button", name=title, exact=True).click()
    return row(page, title)


# ---- the timeline


def test_every_status_has_a_bar_of_its_own_colour_and_shape(sandbox: Sandbox, open_page: OpenPage) -> None:
    fill(sandbox)
    page = open_page()
    expect(page.locator(".row")).to_have_count(5)
    colours, shapes, icons, words = set(), set(), set(), set()
    for status in CHANGE_STATUSES:
        found = page.locator(f".row[data-status={status}]")
        colour, shape = found.locator(".bar").evaluate(
            """(bar) => {
                const style = getComputedStyle(bar);
                const plain = (text) => text.replaceAll(style.color, "");
                const names = "borderTopStyle borderTopLeftRadius backgroundImage clipPath backgroundColor".split(" ");
                return [style.color, names.map((name) => plain(style[name])).join("|")];
            }"""
        )
        colours.add(colour)
        shapes.add(shape)
        icons.add(found.locator(".status use").first.get_attribute("href"))
        words.add(found.locator(".status").inner_text())
        box = found.locator(".bar").bounding_box()
        track = found.locator(".track").bounding_box()
        assert box
        assert track
        assert box["width"] >= 8
        assert track["x"] <= box["x"]
        assert box["x"] + box["width"] <= track["x"] + track["width"] + 1
    assert len(colours) == len(shapes) == len(icons) == 5
    assert words == set(CHANGE_STATUSES)


def test_a_row_says_what_matters(sandbox: Sandbox, open_page: OpenPage) -> None:
    fill(sandbox)
    sandbox.push("RUN-1", "Processing", ago=-9999)
    page = open_page(timezone_id="Asia/Shanghai")
    done = row(page, "Deploy storefront")
    expect(done).to_contain_text("DONE-1")
    expect(done.locator(".took")).to_have_text("3 min 20 s")
    start, end = done.locator(".when time").evaluate_all("(times) => times.map((time) => Date.parse(time.dateTime))")
    assert end - start == 200_000
    (held,) = [change for change in sandbox.receiver.changes() if change["change_key"] == "DONE-1"]
    assert start / 1000 == held["start_time"]
    assert {f"{key}={value}" for key, value in LABELS.items()} == set(done.locator(".chip").all_inner_texts())
    link = row(page, "Warm the caches").get_by_role("link")
    assert link.get_attribute("href") == "https://t.example/RUN-1"
    assert "noopener" in str(link.get_attribute("rel"))
    expect(row(page, "Warm the caches").locator(".refused")).to_have_text("1 refused")
    expect(row(page, "New kernel").locator(".when")).to_contain_text("planned for")
    assert titles(page)[0] == "New kernel"


def test_changes_appear_and_move_on_without_a_reload_and_without_polling(
    sandbox: Sandbox, open_page: OpenPage, opened: Opened
) -> None:
    page = open_page()
    expect(page.locator("#empty")).to_contain_text("No change yet.")
    page.evaluate("window.mark = 1")
    asked = len(opened.requests)
    sandbox.push("C-1", "Processing", title="Deploy", ago=5)
    running = row(page, "Deploy")
    expect(running).to_have_attribute("data-status", "Processing")
    first = running.locator(".took").inner_text()
    wait_until(lambda: running.locator(".took").inner_text() != first, "the duration grows")
    sandbox.push("C-1", "Done", title="Deploy it")
    # The title stays that of the first event.
    expect(row(page, "Deploy")).to_have_attribute("data-status", "Done")
    expect(page.locator("#news")).to_have_text("Deploy: Done")
    for number in range(50):
        sandbox.push(f"B-{number}")
    expect(page.locator("#count")).to_have_text("51 changes")
    assert page.evaluate("window.mark") == 1
    assert opened.requests[asked:] == []


def test_the_bar_of_a_change_in_progress_grows(sandbox: Sandbox, open_page: OpenPage) -> None:
    sandbox.push("C-1", "Processing", ago=20)
    page = open_page("?range=15m")
    drawn = page.locator(".bar")
    before = drawn.evaluate("(bar) => bar.getBoundingClientRect().width")
    wait_until(lambda: drawn.evaluate("(bar) => bar.getBoundingClientRect().width") > before + 1, "the bar is longer")


def test_what_is_read_stays_in_its_place(sandbox: Sandbox, open_page: OpenPage) -> None:
    for number in range(80):
        sandbox.push(f"C-{number}", ago=1000 - number)
    page = open_page()
    expect(page.locator("#count")).to_have_text("80 changes")
    page.evaluate("window.scrollTo(0, 2000)")
    wait_until(lambda: row(page, "C-40").count() == 1)
    top = "(row) => row.getBoundingClientRect().top"
    before = row(page, "C-40").evaluate(top)
    for number in range(10):
        sandbox.push(f"N-{number}")
    expect(page.locator("#count")).to_have_text("90 changes")
    assert abs(row(page, "C-40").evaluate(top) - before) <= 1


def test_it_finds_its_receiver_again(sandbox: Sandbox, open_page: OpenPage, opened: Opened) -> None:
    sandbox.push("C-1")
    page = open_page()
    expect(page.locator(".row")).to_have_count(1)
    receiver = sandbox.receiver
    receiver.close()
    expect(page.locator("#link-state")).to_have_text("not connected, trying again")
    with Receiver(receiver.database, [KEY], port=receiver.port) as again:
        Sandbox(again).push("C-2")
        expect(page.locator("#link-state")).to_have_text("live")
        expect(page.locator("#count")).to_have_text("2 changes")
        again.reset()
        expect(page.locator("#empty")).to_contain_text("No change yet.")
        Sandbox(again).push("C-3")
        expect(page.locator(".title")).to_have_text(["C-3"])
    # The browser itself tells of connections that failed.
    opened.problems = [problem for problem in opened.problems if "net::ERR" not in problem]


# ---- as Flashduty would show it


def test_the_first_text_and_the_latest_labels_are_shown(sandbox: Sandbox, open_page: OpenPage) -> None:
    sandbox.push("C-1", "Processing", ago=60, title="Deploy", description="web01, web02", labels={"service": "a"})
    outcome = {"service": "a", "result": "failed", "failed_host": "web02", "failed_task": "Restart nginx"}
    late = {"title": "It failed", "description": "Oh no", "link": "https://t.example"}
    sandbox.push("C-1", "Canceled", ago=10, labels=outcome, **late)
    sandbox.push("C-1", "Processing", ago=50, title="Deploy", labels={"service": "late"})
    page = open_page()
    found = row(page, "Deploy")
    expect(found).to_have_attribute("data-status", "Canceled")
    # Why it failed needs no click.
    expect(found.locator(".why")).to_have_text("failed · web02 · Restart nginx")
    assert "service=a" in found.locator(".chip").all_inner_texts()
    expect(found.get_by_role("link")).to_have_count(0)
    toggle(page, "Deploy")
    expect(found.locator(".says")).to_have_text("web01, web02")
    fates = found.locator(".arrivals > li")
    expect(fates.nth(0).locator(".fate")).to_have_count(0)
    expect(fates.nth(1).locator(".fate")).to_have_text(
        "Not shown: title, description, link. Flashduty keeps what the first event said."
    )
    expect(fates.nth(2).locator(".fate")).to_have_text(
        "Not shown: change_status, labels. It happened before the last event recorded."
    )


def test_a_discarded_event_says_why(sandbox: Sandbox, open_page: OpenPage) -> None:
    for number in range(3):
        sandbox.push("C-1", "Processing", event_time=1_700_000_000, title="Deploy", labels={"step": str(number)})
    page = open_page()
    found = row(page, "Deploy")
    expect(found.locator(".took .discarded")).to_have_text("2 discarded")
    expect(found.locator(".chip")).to_have_text("step=0")
    toggle(page, "Deploy")
    expect(found.locator(".arrivals > li")).to_have_count(3)
    expect(found.locator(".fate")).to_have_count(2)
    expect(found.locator(".fate").first).to_contain_text("Discarded An event with this status and second was recorded")


@pytest.mark.parametrize("options", [{"route_label": "team"}])
def test_a_second_channel_is_shown_for_what_it_is(sandbox: Sandbox, open_page: OpenPage) -> None:
    sandbox.push("C-1", "Processing", ago=60, title="Deploy", labels={"team": "web"})
    page = open_page()
    expect(row(page, "Deploy").locator(".channel")).to_have_text("channel web")
    sandbox.push("C-1", "Done", ago=10, title="Deploy, ended", labels={"team": "web,db"})
    # The first stays open, and knows of the other.
    first, second = row(page, "Deploy"), row(page, "Deploy, ended")
    expect(second.locator(".channel.split")).to_have_text("channel web,db")
    expect(first.locator(".channel.split")).to_have_text("channel web")
    expect(first).to_have_attribute("data-status", "Processing")
    toggle(page, "Deploy")
    expect(first.locator("p.split")).to_contain_text("This key has 2 changes, one for each channel.")
    first.get_by_role("link", name="channel web,db").click()
    expect(second.locator(".headline")).to_have_text("Deploy, ended")
    page.get_by_role("link", name="Connect").click()
    expect(page.locator("#rules")).to_contain_text("The label team names the channel")


def test_failed_is_an_end(sandbox: Sandbox, open_page: OpenPage) -> None:
    now = int(time.time())
    sandbox.native("job-7", "Processing", event_time=now - 60, title="AWX job")
    assert sandbox.native("job-7", "Failed", event_time=now - 10, labels={"result": "failed"}) == 200
    page = open_page()
    found = row(page, "AWX job")
    expect(found.locator(".status").first).to_have_text("Failed")
    expect(found.locator(".took")).to_have_text("50 s")
    page.get_by_role("checkbox", name="Failed").check()
    expect(page.locator(".row")).to_have_count(1)


@pytest.mark.parametrize("options", [{"merge": "last"}])
def test_it_says_how_it_merges(sandbox: Sandbox, open_page: OpenPage) -> None:
    sandbox.push("C-1", "Processing", ago=60, title="Deploy")
    sandbox.push("C-1", "Done", title="Deployed")
    page = open_page("?view=connect")
    expect(page.locator("#rules")).to_contain_text("Every field follows the last event")
    page.get_by_role("link", name="Timeline").click()
    expect(page.locator(".title")).to_have_text(["Deployed"])


# ---- what it looks like


def test_a_long_link_leaves_its_caption_whole_and_a_title_is_there_in_full(
    sandbox: Sandbox, open_page: OpenPage
) -> None:
    long = "Roll the storefront out " * 12
    sandbox.push("C-1", title=long, link=f"https://t.example/{'z' * 400}")
    page = open_page()
    page.locator(".title").click()
    caption = page.locator(".facts dt", has_text="Link")
    lines = """(dt) => {
        const range = document.createRange();
        range.selectNodeContents(dt);
        return range.getClientRects().length;
    }"""
    assert caption.evaluate(lines) == 1
    headline = page.locator(".headline")
    assert headline.inner_text().strip() == long.strip()
    assert headline.evaluate("(p) => p.scrollWidth <= p.clientWidth")


def test_what_is_hours_ahead_does_not_squeeze_what_was(sandbox: Sandbox, open_page: OpenPage) -> None:
    sandbox.run("C-1", ago=600, took=500)
    sandbox.push("LATER", "Ready", ago=-7200)
    sandbox.push("MUCH LATER", "Ready", ago=-90 * 86400)
    page = open_page()
    expect(page.locator(".row")).to_have_count(3)
    share = "(bar) => bar.getBoundingClientRect().width / bar.parentNode.getBoundingClientRect().width"
    assert row(page, "C-1").locator(".bar").evaluate(share) > 0.5
    rest = "(bar) => bar.parentNode.getBoundingClientRect().right - bar.getBoundingClientRect().right"
    for name in ("LATER", "MUCH LATER"):
        assert row(page, name).locator(".bar.beyond").evaluate(rest) < 2
    # Alone they have the axis to themselves.
    page.goto(f"{sandbox.receiver.page_url}?status=Ready&q=LATER")
    expect(page.locator(".row")).to_have_count(2)
    assert page.locator(".bar.beyond").count() == 0


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("width", [1400, 1000])
def test_no_hint_is_cut(open_page: OpenPage, locale: str, width: int) -> None:
    page = open_page(locale=locale, viewport={"width": width, "height": 800})
    for name in ("#search", "#label-input"):
        room, text = page.locator(name).evaluate(
            """(input) => {
                const style = getComputedStyle(input);
                const canvas = document.createElement("canvas").getContext("2d");
                canvas.font = style.font;
                const padding = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight);
                return [input.clientWidth - padding, canvas.measureText(input.placeholder).width];
            }"""
        )
        assert text <= room


@pytest.mark.parametrize("width", [320, 400])
def test_the_navigation_is_one_row(sandbox: Sandbox, open_page: OpenPage, width: int) -> None:
    fill(sandbox)
    page = open_page(viewport={"width": width, "height": 720})
    tops = page.locator("header nav a").evaluate_all("(all) => all.map((a) => a.getBoundingClientRect().top)")
    assert (len(tops), len(set(tops))) == (4, 1)
    assert page.locator("header").evaluate("(header) => header.getBoundingClientRect().height") < 130


# ---- settings, copying, clearing


CLIPBOARD = {"permissions": ["clipboard-read", "clipboard-write"]}


def clipboard(page: Page) -> str:
    return str(page.evaluate("() => navigator.clipboard.readText()"))


def test_an_empty_page_gives_what_to_copy(sandbox: Sandbox, open_page: OpenPage) -> None:
    page = open_page(**CLIPBOARD)
    shown = page.locator("#empty code")
    expect(shown).to_contain_text(f"export FLASHDUTY_PUSH_URL='{sandbox.receiver.push_url()}'")
    page.locator("#empty").get_by_role("button", name="Copy").click()
    expect(page.locator("#empty .copy")).to_have_text("Copied")
    assert clipboard(page) == shown.inner_text()
    assert "export FLASHDUTY_APP_KEY=" in clipboard(page)


def test_each_integration_has_its_push_url_and_one_can_be_added(sandbox: Sandbox, open_page: OpenPage) -> None:
    page = open_page(**CLIPBOARD)
    page.get_by_role("link", name="Connect").click()
    urls = page.locator("#keys dd code")
    expect(urls).to_have_text(
        [sandbox.receiver.push_url(KEY), sandbox.receiver.push_url(SECOND_KEY), sandbox.receiver.app_key]
    )
    page.get_by_role("button", name="Add an integration").click()
    expect(urls).to_have_count(4)
    added = urls.nth(2).inner_text()
    page.get_by_role("button", name=f"Copy: {added}").click()
    wait_until(lambda: clipboard(page) == added)
    event = {"change_key": "C-9", "change_status": "Done", "title": "x"}
    assert sandbox.ask(added.removeprefix(sandbox.receiver.url), event) == 200
    page.get_by_role("link", name="Timeline").click()
    expect(page.locator(".title")).to_have_text(["x"])


def test_a_stopped_sandbox_says_how_to_start_it(sandbox: Sandbox, open_page: OpenPage, opened: Opened) -> None:
    sandbox.push("C-1")
    page = open_page()
    banner = page.locator("#stopped")
    expect(banner).to_be_hidden()
    sandbox.receiver.close()
    expect(page.get_by_role("alert").filter(has_text="The sandbox does not answer.")).to_be_visible()
    expect(banner.locator("code")).to_have_text("ansible-playbook flashcat.flashduty.sandbox")
    expect(row(page, "C-1")).to_be_visible()
    page.close()
    opened.problems = [problem for problem in opened.problems if "net::ERR" not in problem]


def test_everything_can_be_exported_and_forgotten(sandbox: Sandbox, open_page: OpenPage) -> None:
    fill(sandbox)
    sandbox.push("x", key="wrong")
    page = open_page()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export JSON").click()
    assert download.value.suggested_filename == "flashduty-changes.json"
    exported = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert exported == json.loads(json.dumps(sandbox.receiver.changes()))
    page.get_by_role("button", name="Clear all").click()
    sure = page.locator("#forget-sure")
    expect(sure).to_contain_text("sandbox_reset=true")
    page.get_by_role("button", name="Keep").click()
    expect(sure).to_be_hidden()
    expect(page.locator(".row")).to_have_count(5)
    page.get_by_role("button", name="Clear all").click()
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.locator("#empty")).to_contain_text("No change yet.")
    expect(page.get_by_role("link", name="Refused (0)")).to_be_visible()
    assert sandbox.receiver.changes() == []


def test_a_change_has_an_address(sandbox: Sandbox, open_page: OpenPage) -> None:
    for number in range(150):
        sandbox.push(f"C-{number}", ago=1000 - number)
    page = open_page(**CLIPBOARD)
    page.get_by_label("Search key, title, text").fill("C-7")
    toggle(page, "C-7")
    row(page, "C-7").get_by_role("button", name="Copy address: C-7").click()
    (held,) = [change for change in sandbox.receiver.changes() if change["change_key"] == "C-7"]
    wait_until(lambda: parse_qs(urlsplit(clipboard(page)).query) == {"change": [held["change_id"]]})
    page.goto(clipboard(page))
    expect(page.locator(".headline")).to_have_text("C-7")
    assert page.evaluate("() => document.activeElement.textContent") == "C-7"
    row(page, "C-7").get_by_role("button", name="Copy as JSON: C-7").click()
    wait_until(lambda: clipboard(page).startswith("{"))
    assert json.loads(clipboard(page))["change_id"] == held["change_id"]
    page.goto(f"{sandbox.receiver.page_url}?change=none")
    expect(page.locator("#count")).to_have_text("150 changes")


# ---- filters


def test_filters_live_in_the_address(sandbox: Sandbox, open_page: OpenPage) -> None:
    fill(sandbox)
    page = open_page()
    expect(page.locator(".row")).to_have_count(5)
    page.get_by_label("Search key, title, text").fill("hosts OK")
    expect(page.locator(".title")).to_have_text(["Deploy storefront"])
    assert query(page) == {"q": ["hosts OK"]}
    page.get_by_label("Search key, title, text").fill("")
    page.get_by_role("checkbox", name="Done").check()
    page.get_by_role("checkbox", name="Canceled").check()
    expect(page.locator(".row")).to_have_count(2)
    assert query(page) == {"status": ["Done", "Canceled"]}
    page.get_by_label("Filter by label key=value").fill("service=orders")
    page.keyboard.press("Enter")
    expect(page.locator(".title")).to_have_text(["Change the schema"])
    expect(page.locator("#count")).to_have_text("1 of 5 changes")
    assert query(page) == {"status": ["Done", "Canceled"], "label": ["service=orders"]}
    # What the other statuses would bring under the same label.
    expect(page.locator("#count-Planned")).to_have_text("1")

    page.reload()
    expect(page.locator(".title")).to_have_text(["Change the schema"])
    assert page.get_by_role("checkbox", name="Done").is_checked()

    page.go_back()
    expect(page.locator(".row")).to_have_count(2)
    page.go_back()
    expect(page.locator(".row")).to_have_count(1)
    page.go_forward()
    page.go_forward()
    expect(page.locator(".title")).to_have_text(["Change the schema"])
    page.get_by_role("button", name="Remove the filter service=orders").click()
    expect(page.locator(".row")).to_have_count(2)
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator(".row")).to_have_count(5)
    assert query(page) == {}


def test_what_is_typed_is_one_step_back(sandbox: Sandbox, open_page: OpenPage) -> None:
    fill(sandbox)
    page = open_page()
    page.get_by_label("Search key, title, text").press_sequentially("deploy")
    expect(page.locator(".row")).to_have_count(1)
    page.go_back()
    expect(page.locator(".row")).to_have_count(5)
    expect(page.get_by_label("Search key, title, text")).to_have_value("")


def test_a_label_on_a_row_is_a_filter_and_a_key_alone_is_one_too(sandbox: Sandbox, open_page: OpenPage) -> None:
    fill(sandbox)
    sandbox.push("EQ", labels={"expression": "a=b=c"})
    page = open_page()
    row(page, "Warm the caches").locator(".chip", has_text="service=storefront").click()
    expect(page.locator(".row")).to_have_count(2)
    assert query(page) == {"label": ["service=storefront"]}
    expect(page.locator(".detail")).to_have_count(0)
    row(page, "Warm the caches").locator(".chip", has_text="service=storefront").click()
    expect(page.locator(".row")).to_have_count(6)
    page.goto(f"{sandbox.receiver.page_url}?{urlencode({'label': 'cluster'})}")
    expect(page.locator(".row")).to_have_count(4)
    page.goto(f"{sandbox.receiver.page_url}?{urlencode({'label': 'expression=a=b=c'})}")
    expect(page.locator(".title")).to_have_text(["EQ"])


def test_a_range_of_time_and_an_address_that_makes_no_sense(sandbox: Sandbox, open_page: OpenPage) -> None:
    sandbox.push("old", ago=7200)
    sandbox.push("open", "Processing", ago=7200)
    sandbox.push("new", ago=10)
    page = open_page()
    expect(page.locator(".row")).to_have_count(3)
    page.get_by_label("Time shown").select_option("1h")
    expect(page.locator(".row")).to_have_count(2)
    assert sorted(titles(page)) == ["new", "open"]
    assert query(page) == {"range": ["1h"]}
    page.goto(f"{sandbox.receiver.page_url}?range=9y&status=Nope&view=x&at=-3&window=%00&q=")
    expect(page.locator(".row")).to_have_count(3)


# ---- what is inside a change


def test_a_change_opens_to_its_events_and_what_was_refused(sandbox: Sandbox, open_page: OpenPage) -> None:
    body: dict[str, Any] = {
        "title": "Deploy",
        "labels": LABELS,
        "description": "line 1\nline 2",
        "link": "https://t.example/1",
    }
    sandbox.push("C-1", "Processing", ago=300, **body)
    sandbox.push("C-1", "Processing", ago=-9999, **body)
    sandbox.receiver.faults.set("lost_answer", times=1)
    with pytest.raises(ConnectionError):
        sandbox.push("C-1", "Done", ago=3, **body)
    page = open_page()
    opened = toggle(page, "Deploy")
    expect(opened.get_by_role("button", name="Deploy", exact=True)).to_have_attribute("aria-expanded", "true")
    events = opened.locator(".arrivals > li")
    expect(events).to_have_count(3)
    held = sandbox.receiver.requests()
    for event, request in zip(events.all(), held, strict=True):
        expect(event).to_contain_text(request["request_id"])
        assert json.loads(event.locator("pre").inner_text()) == json.loads(request["body"])
        arrived = event.locator("time").last.evaluate("(time) => Date.parse(time.dateTime)")
        assert abs(arrived / 1000 - request["received"]) < 0.01
    expect(events.nth(0)).to_contain_text("(5 min later)")
    expect(events.nth(1)).to_contain_text("Refused: InvalidParameter")
    expect(events.nth(1)).to_contain_text("lies in the future")
    expect(events.nth(1)).to_contain_text("HTTP 400")
    expect(events.nth(2)).to_contain_text("lost_answer")
    expect(opened.locator(".says")).to_have_text("line 1\nline 2", use_inner_text=True)
    toggle(page, "Deploy")
    expect(page.locator(".detail")).to_have_count(0)


def test_an_open_change_goes_on_and_keeps_what_is_read(sandbox: Sandbox, open_page: OpenPage) -> None:
    sandbox.push("C-1", "Processing", ago=30, title="Deploy")
    sandbox.push("C-0", ago=60, title="Below")
    page = open_page()
    opened = toggle(page, "Deploy")
    body = opened.locator("pre").first
    body.focus()
    body.evaluate("(element) => { element.mark = 1; }")
    sandbox.push("C-1", "Done", title="Deploy")
    expect(opened.locator(".arrivals > li")).to_have_count(2)
    assert body.evaluate("(element) => element.mark === 1 && document.activeElement === element")
    # Nothing lies on top of anything.
    open_box, below = opened.bounding_box(), row(page, "Below").bounding_box()
    assert open_box
    assert below
    assert abs(open_box["y"] + open_box["height"] - below["y"]) <= 1


def test_refused_requests_without_a_change_have_a_place(sandbox: Sandbox, open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_role("link", name="Refused (0)").click()
    expect(page.get_by_text("Nothing was refused.")).to_be_visible()
    sandbox.push("LOST-1", key="wrong", title="Deploy")
    item = page.locator("#strays > li")
    expect(item).to_contain_text("400 InvalidParameter")
    expect(item).to_contain_text("integration_key *** is not a valid one")
    expect(item.locator("summary")).to_contain_text("LOST-1")
    item.locator("summary").click()
    expect(item.locator("pre")).to_contain_text('"title": "Deploy"')
    assert query(page) == {"view": ["refused"]}
    sandbox.push("LOST-1", title="Deploy")
    expect(item).to_have_count(0)
    page.go_back()
    expect(row(page, "Deploy").locator(".refused")).to_have_text("1 refused")


def test_probes_of_the_doctor_are_no_refused_requests(sandbox: Sandbox, open_page: OpenPage) -> None:
    for key in (KEY, "made-up"):
        assert sandbox.ask(f"/event/push/change/standard?integration_key={key}", {}) == 400
    sandbox.push("LOST-1", key="wrong")
    page = open_page("?view=refused")
    expect(page.get_by_role("link", name="Refused (1)")).to_be_visible()
    expect(page.locator("#strays > li")).to_have_count(1)
    page.get_by_label("Show 2 probes of the doctor").check()
    expect(page.locator("#strays > li")).to_have_count(3)
    expect(page.locator("#strays > li").last).to_contain_text("Probe")


# ---- try correlation


def test_correlation_ranks_marks_and_explains(sandbox: Sandbox, open_page: OpenPage) -> None:
    fill(sandbox)
    page = open_page()
    page.get_by_role("link", name="Try correlation").click()
    expect(page.get_by_text("Enter the labels of an alert.")).to_be_visible()
    page.get_by_label("Labels of the alert").fill("service=storefront\nhost: web01\nenv = prod\nseverity=critical")
    ranked = page.locator(".matches:not(.unranked) > li")
    expect(ranked.locator("h3")).to_have_text(["Warm the caches", "Deploy storefront", "Move the database"])
    expect(ranked.nth(0)).to_contain_text("2 shared labels · under way at the alert")
    expect(ranked.nth(1)).to_contain_text("before the alert")
    assert set(ranked.nth(0).locator("mark").all_inner_texts()) == {"service=storefront", "env=prod"}
    expect(ranked.nth(0).locator(".differs")).to_have_text("host=web01,web02 (alert: web01; one of several values)")
    expect(ranked.nth(0)).to_contain_text("Only the alert has: severity=critical")
    for text in ("What Flashduty publishes", "neither weights nor a window"):
        expect(page.get_by_text(text)).to_be_visible()
    assert "service=storefront" in query(page)["alert"][0]

    page.reload()
    expect(ranked).to_have_count(3)
    # A change that comes while somebody looks is ranked, too.
    sandbox.push("NEW", "Processing", labels={**LABELS, "severity": "critical"}, title="Just begun")
    expect(ranked.locator("h3").first).to_have_text("Just begun")
    page.get_by_label("Labels of the alert").fill("host=web01")
    expect(ranked).to_have_count(0)
    expect(page.locator(".unranked > li h3")).to_have_text(
        ["Just begun", "Warm the caches", "Deploy storefront", "Move the database"]
    )


def test_the_time_of_the_alert_counts(sandbox: Sandbox, open_page: OpenPage) -> None:
    for name, ago in (("early", 7000), ("late", 100)):
        sandbox.push(name, ago=ago, labels={"service": "a"})
    at = int(time.time()) - 6900
    page = open_page(
        f"?{urlencode({'view': 'correlate', 'alert': 'service=a', 'at': at})}", timezone_id="Asia/Shanghai"
    )
    expect(page.locator(".matches h3")).to_have_text(["early", "late"])
    expect(page.locator(".matches > li").nth(1)).to_contain_text("after the alert")
    page.get_by_label("Look this far around it").select_option("1h")
    expect(page.locator(".matches h3")).to_have_text(["early"])
    page.get_by_role("button", name="Now").click()
    expect(page.locator(".matches h3")).to_have_text(["late"])
    page.go_back()
    expect(page.locator(".matches h3")).to_have_text(["early"])
    shown = page.get_by_label("Time of the alert (empty: now)").input_value()
    assert page.evaluate("(text) => new Date(text).getTime() / 1000", shown) == at


@pytest.mark.parametrize(
    "text",
    [
        '{"service": "a b", "n": 7}',
        '{"labels": {"service": "a b", "n": "7"}, "annotations": {"x": "y"}}',
        '{service="a b", n="7"}',
        '{service = "a b",n="7",}',
        "service=a b\nn=7",
        "  service: a b\r\n\r\n n : 7 ,",
        'service="a b"\nn="7"',
    ],
)
def test_labels_are_read_as_people_have_them(sandbox: Sandbox, open_page: OpenPage, text: str) -> None:
    sandbox.push("C-1", labels={"service": "a b", "n": "7"})
    page = open_page(f"?{urlencode({'view': 'correlate', 'alert': text})}")
    expect(page.locator(".matches mark")).to_have_text(["service=a b", "n=7"])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("service=a\nnonsense", "Line 2 is not key=value."),
        ('{"service": ', "This JSON is not an object of labels."),
        ('{"service": ["a"]}', "This JSON is not an object of labels."),
    ],
)
def test_labels_that_cannot_be_read_are_told(open_page: OpenPage, text: str, problem: str) -> None:
    page = open_page(f"?{urlencode({'view': 'correlate', 'alert': text})}")
    expect(page.get_by_role("alert")).to_have_text(problem)
    expect(page.get_by_label("Labels of the alert")).to_have_attribute("aria-invalid", "true")


# ---- strangers' text


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</textarea></title></style></script><script>alert(1)</script>",
    "javascript:alert(1)",
    "{{constructor.constructor('alert(1)')()}}",
    "<a href=javascript:alert(1)>x</a><base href=//evil.example>",
    "\u202eevil\u0000\u2028",
    "&lt;b&gt; &amp;",
)
LINKS = (
    "javascript:alert(1)",
    " JaVaScRiPt:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "//e.example",
)


def test_hostile_text_is_text_everywhere(sandbox: Sandbox, open_page: OpenPage) -> None:
    for number, text in enumerate(HOSTILE):
        fields: dict[str, Any] = {
            "title": text,
            "description": text,
            "labels": {text: text, "service": "a", "__proto__": text},
        }
        assert sandbox.push(text, "Processing", ago=number, link=LINKS[number % len(LINKS)], **fields) == 200
        sandbox.ask(f"/event/push/change/standard?integration_key={number}", {"change_key": text + "x", "title": text})
        sandbox.push(text, text)
    sandbox.ask("/<img/src=x/onerror=alert(1)>", {}, **{"User-Agent": HOSTILE[1]})
    page = open_page(f"?{urlencode({'q': HOSTILE[2]})}")
    elements = (
        "() => [...document.querySelectorAll('img, iframe, base, object, embed, [onload], [onerror], script')].length"
    )
    assert page.evaluate(elements) == 1
    expect(page.locator(".title")).to_have_text([HOSTILE[2]], use_inner_text=True)
    page.goto(f"{sandbox.receiver.page_url}?{urlencode({'label': f'{HOSTILE[1]}={HOSTILE[1]}'})}")
    expect(page.locator(".row")).to_have_count(1)
    page.goto(sandbox.receiver.page_url)
    expect(page.locator(".row")).to_have_count(len(HOSTILE))
    assert set(page.locator(".title").evaluate_all("(all) => all.map((one) => one.textContent)")) == set(HOSTILE)
    for index in range(len(HOSTILE)):
        # The bottom first: what opens does not push away what comes next.
        page.locator(".title").nth(len(HOSTILE) - 1 - index).press("Enter")
    expect(page.locator(".detail .arrivals")).to_have_count(len(HOSTILE))
    expect(page.locator(".detail a")).to_have_count(0)
    assert page.evaluate(elements) == 1
    assert page.evaluate("() => ({}).polluted === undefined && Object.prototype.service === undefined")
    alert = json.dumps({"service": "a", HOSTILE[1]: HOSTILE[0]})
    page.goto(f"{sandbox.receiver.page_url}?{urlencode({'view': 'correlate', 'alert': alert})}")
    expect(page.locator(".matches > li")).to_have_count(len(HOSTILE))
    assert page.evaluate(elements) == 1
    page.goto(f"{sandbox.receiver.page_url}?view=refused")
    expect(page.locator("#strays summary")).to_have_count(len(HOSTILE) + 1)
    for item in page.locator("#strays summary").all():
        item.click()
    expect(page.locator("#strays pre, #strays .quiet").first).to_be_visible()
    assert page.evaluate(elements) == 1
    for anchor in page.locator("a").all():
        assert str(anchor.evaluate("(a) => a.href")).startswith(sandbox.receiver.url)


def test_the_policy_stops_what_the_page_would_never_do(sandbox: Sandbox, open_page: OpenPage, opened: Opened) -> None:
    page = open_page()
    tries = (
        "document.body.innerHTML = '<b>x</b>'",
        "document.head.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))",
        "(document.body.setAttribute('onclick', 'window.ran = 1'), document.body.click())",
        "fetch('http://127.0.0.1:9/')",
    )
    for script in tries:
        page.evaluate(f"async () => {{ try {{ await ({script}); }} catch {{}} }}")
    assert page.evaluate("window.ran") is None
    expect(page.get_by_role("heading", name="Flashduty sandbox")).to_be_visible()
    assert len(opened.problems) >= len(tries)
    opened.problems.clear()


# ---- for everybody


CHINESE = "(text) => /[\\u4e00-\\u9fff]/.test(text)"


def test_it_speaks_the_language_of_the_browser_and_the_other_one(sandbox: Sandbox, open_page: OpenPage) -> None:
    fill(sandbox)
    page = open_page(locale="zh-CN")
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    expect(page.locator(".row[data-status=Done] .status")).to_have_text("已完成")
    for query_text in ("", "?view=correlate", "?view=refused"):
        page.goto(sandbox.receiver.page_url + query_text)
        texts = page.evaluate(
            """() => [...document.querySelectorAll("[data-text], [data-label], [data-hint]")].flatMap((element) => [
                element.dataset.text && element.textContent,
                element.dataset.label && element.getAttribute("aria-label"),
                element.dataset.hint && element.placeholder,
            ].filter(Boolean))"""
        )
        assert len(texts) > 20
        assert [text for text in texts if not page.evaluate(CHINESE, text)] == []
    page.get_by_label("语言").select_option("en")
    assert page.locator("html").get_attribute("lang") == "en"
    expect(page.get_by_role("heading", name="Refused")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Refused")).to_be_visible()
    page.goto(sandbox.receiver.page_url)
    expect(page.locator(".row[data-status=Done] .status")).to_have_text("Done")
    toggle(page, "Deploy storefront")
    expect(page.locator(".arrivals")).to_contain_text("Arrived")
    page.get_by_label("Language").select_option("zh")
    expect(page.locator(".arrivals")).to_contain_text("到达")
    assert page.title() == "Flashduty 沙箱"


def test_the_theme_can_be_chosen_and_is_kept(sandbox: Sandbox, open_page: OpenPage) -> None:
    page = open_page(color_scheme="light")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    page.get_by_label("Colors").select_option("dark")
    assert page.evaluate(ground) == "rgb(16, 20, 24)"
    page.reload()
    assert page.evaluate(ground) == "rgb(16, 20, 24)"
    page.get_by_label("Colors").select_option("auto")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"


def test_the_keyboard_is_enough(sandbox: Sandbox, open_page: OpenPage) -> None:
    for number in range(300):
        sandbox.push(f"C-{number}", ago=1000 - number, labels=LABELS)
    page = open_page()
    expect(page.locator("#count")).to_have_text("300 changes")
    focused = "() => document.activeElement.textContent"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "Skip to the changes"
    stops = 0
    while page.evaluate("() => !document.activeElement.classList.contains('title')"):
        page.keyboard.press("Tab")
        stops += 1
        outline = page.evaluate(
            "() => getComputedStyle(document.activeElement.closest('label') ?? document.activeElement).outlineStyle"
        )
        assert outline != "none"
        assert stops < 30
    assert page.evaluate(focused) == "C-299"
    # The list is one stop: behind it the page ends.
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.closest('#changes')") is None
    page.keyboard.press("Shift+Tab")
    for pressed, title in (
        ("ArrowDown", "C-298"),
        ("End", "C-0"),
        ("ArrowUp", "C-1"),
        ("Home", "C-299"),
        ("ArrowUp", "C-299"),
    ):
        page.keyboard.press(pressed)
        assert page.evaluate(focused) == title
        assert page.evaluate(
            """() => {
                const box = document.activeElement.getBoundingClientRect();
                const hit = document.elementFromPoint(box.left + 2, box.top + box.height / 2);
                return document.activeElement.contains(hit);
            }"""
        ), f"{title} is not to be seen"
    page.keyboard.press("PageDown")
    assert page.evaluate(focused) not in ("C-299", "C-298")
    page.keyboard.press("Enter")
    expect(page.locator(".detail pre")).to_have_count(1)
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.matches('.detail .chip')")
    # The labels, and what can be copied.
    for _stop in range(len(LABELS) + 2):
        page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.tagName") == "PRE"
    for _back in range(len(LABELS) + 3):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    expect(page.locator(".detail")).to_have_count(0)
    assert page.evaluate("() => document.activeElement.classList.contains('title')")


def test_the_focus_stays_when_a_change_moves_on(sandbox: Sandbox, open_page: OpenPage) -> None:
    for number in range(200):
        sandbox.push(f"C-{number}", "Processing", ago=1000 - number)
    page = open_page()
    expect(page.locator("#count")).to_have_text("200 changes")
    row(page, "C-195").locator(".title").focus()
    sandbox.push("C-195", "Done")
    sandbox.push("N-1")
    expect(row(page, "C-195")).to_have_attribute("data-status", "Done")
    assert page.evaluate("() => document.activeElement.textContent") == "C-195"
    page.evaluate("() => window.scrollTo(0, document.body.scrollHeight)")
    wait_until(lambda: row(page, "C-0").count() == 1)
    assert page.evaluate("() => document.activeElement.textContent") == "C-195"


def test_a_screen_reader_finds_names_and_structure(sandbox: Sandbox, open_page: OpenPage) -> None:
    fill(sandbox)
    page = open_page()
    toggle(page, "Deploy storefront")
    expect(page.locator(".arrivals > li")).to_have_count(2)
    for view in ("timeline", "correlate", "refused"):
        page.locator(f"nav [data-view={view}]").click()
        tree = page.locator("body").aria_snapshot()
        for role in ("button", "textbox", "combobox", "checkbox", "link", "searchbox", "list", "region", "search"):
            for line in tree.splitlines():
                bare = line.strip().removeprefix("- ").rstrip(":")
                assert bare != role, f"{role} without a name in:\n{tree}"
        assert tree.count("heading") >= 2
        assert page.locator("h1").count() == 1
    page.locator("nav [data-view=timeline]").click()
    places = page.locator("#changes > li").evaluate_all(
        "(rows) => rows.map((row) => [row.getAttribute('aria-posinset'), row.getAttribute('aria-setsize')])"
    )
    assert places == [[str(index + 1), "5"] for index in range(5)]
    news = page.get_by_role("status")
    expect(news).to_have_attribute("aria-live", "polite")
    assert page.locator("[id]").evaluate_all("(all) => new Set(all.map((one) => one.id)).size === all.length")


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_shows_everything_without_scrolling_sideways(sandbox: Sandbox, open_page: OpenPage, width: int) -> None:
    fill(sandbox)
    sandbox.push(
        "x" * 200, "Processing", title="y" * 300, labels={"k" * 128: "v" * 500}, link=f"https://t.example/{'z' * 300}"
    )
    sandbox.push("z" * 300, key="wrong", title="")
    page = open_page(viewport={"width": width, "height": 720}, has_touch=True, is_mobile=True)
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    row(page, "y" * 300).locator(".title").tap()
    expect(page.locator(".arrivals pre")).to_be_visible()
    assert page.evaluate(overflow) == 0
    row(page, "Deploy storefront").scroll_into_view_if_needed()
    boxes = [
        row(page, "Deploy storefront").locator(part).bounding_box()
        for part in (".status", ".title", ".when", ".took", ".chips", ".bar")
    ]
    for box in boxes:
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    page.goto(f"{sandbox.receiver.page_url}?view=correlate&alert=service%3Dstorefront%0A{'k' * 128}%3D{'v' * 500}")
    expect(page.locator(".matches > li").first).to_be_visible()
    assert page.evaluate(overflow) == 0
    page.goto(f"{sandbox.receiver.page_url}?view=refused")
    page.locator("#strays summary").tap()
    assert page.evaluate(overflow) == 0


def test_who_asks_for_stillness_gets_it(sandbox: Sandbox, open_page: OpenPage) -> None:
    sandbox.push("C-1", "Processing")
    animation = "(bar) => getComputedStyle(bar).animationName"
    assert open_page().locator(".bar").evaluate(animation) == "flow"
    assert open_page(reduced_motion="reduce").locator(".bar").evaluate(animation) == "none"
