"""The page in a browser, over answers that the tests choose."""

import time
from itertools import product

import pytest
from fakes.browser import ENTER, Browser
from fakes.processes import wait_until
from fakes.stats_server import ADMIN_KEY, StatsServer, full_request, full_resident

pytestmark = pytest.mark.browser

LIVE = "document.body.dataset.state === 'live'"


def test_every_figure_that_the_server_tells_can_be_read(browser: Browser, server: StatsServer):
    browser.open(server.url)
    browser.wait_for(LIVE)
    tiles = browser.text("#tiles")
    for shown in ("37 %", "16 cores", "server 13 %", "150 MiB", "16 GiB", "of 64 GiB", "87 %",
                  "NVIDIA GeForce RTX 4090", "18 GiB of 24 GiB", "312 W", "64 °C", "2 waiting",
                  "3 running", "40 %", "40 of 100"):  # fmt: skip
        assert shown in tiles
    card = browser.text("#models li")
    for shown in ("alpha", "Ready", "unloads after 10 min", "3 of 8", "5.0 GiB", "1,234", "99.5 %",
                  "45,678", "75 %", "42 ms", "180 ms", "950 ms", "6.5 ms", "9.3 ms", "1.25 s",
                  "12.5 s", "61.0 s"):  # fmt: skip
        assert shown in card
    assert "beta" in browser.text("#installed")
    assert "alpha" not in browser.text("#installed")
    row = browser.text("#requests tr")
    for shown in ("alpha · chat", "✓ ok", "miss", "120 · 80 reused", "64", "1.23 s", "req-0000"):
        assert shown in row
    assert "up 2 h 5 min" in browser.text("header")
    assert "Sign out" not in browser.text("header")


def test_speed_and_rate_come_from_what_has_been_done_meanwhile(
    browser: Browser, server: StatsServer
):
    browser.open(server.url)
    browser.wait_for(LIVE)
    work = server.stats["resident"][0]["work"]
    work |= {"step_s": 12.0, "decode_tokens": 590, "prefill_tokens": 1900}
    server.stats["models"][0]["requests"] += 500
    browser.wait_for_text("45 tok/s", "#tiles")
    assert "prompts 500 tok/s" in browser.text("#tiles")
    assert "Tokens/s\n45" in browser.text("#models")
    requests = "document.querySelectorAll('#tiles dd.figure')[4].textContent"
    assert browser.wait_for(f"parseInt({requests}) > 100 && {requests}").endswith("/s")
    drawn = "[...document.querySelectorAll('#tiles .line')].map((line) => line.getAttribute('d'))"
    browser.wait_for(f"{drawn}[0].includes('L')")


@pytest.mark.parametrize(
    "stats",
    [
        {},
        {"system": None, "models": None, "response_cache": None, "resident": None, "recent": None},
        {"system": {"host": {}, "gpus": []}, "resident": [{"model": "x"}], "recent": [{}]},
        {
            "system": {"host": {"cpu_percent": None, "memory_total": None}, "gpus": [{}]},
            "models": [{"model": "x", "ttft_ms": None, "itl_ms": {"p50": None}}],
            "response_cache": {"hit_rate": None, "hits": 0, "misses": 0, "shared": 0},
            "resident": [{"model": "x", "state": "starting", "work": None, "config": None}],
        },
    ],
    ids=["nothing", "null", "empty", "unknown"],
)
def test_what_is_not_known_is_not_shown(browser: Browser, server: StatsServer, stats: dict):
    server.stats, server.installed = stats, []
    browser.open(server.url)
    browser.wait_for(LIVE)
    text = browser.text()
    assert "Live" in text
    assert [
        word for word in ("NaN", "null", "undefined", "Infinity", "[object") if word in text
    ] == []


def test_it_asks_one_thing_at_a_time_and_nothing_while_nobody_looks(
    browser: Browser, server: StatsServer
):
    server.delay_s = 1.1  # longer than from one question to the next
    browser.open(server.url)
    wait_until(lambda: len(server.polls()) >= 3)
    assert server.most_at_once == 1
    browser.run("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    server.delay_s = 0
    wait_until(lambda: server.polls()[-1] < time.monotonic() - 1.6)
    n_polls = len(server.polls())
    browser.run("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    wait_until(lambda: len(server.polls()) > n_polls)


def test_it_says_when_the_server_is_gone_and_goes_on_when_it_is_back(
    browser: Browser, server: StatsServer
):
    browser.open(server.url)
    browser.wait_for(LIVE)
    server.stop()
    browser.wait_for_text("The server does not answer · figures of", "#state")
    assert "alpha" in browser.text("#models")
    browser.wait_for_text("Trying again in 2 s", "#retry")
    browser.wait_for_text("Trying again in 4 s", "#retry")
    server.start()
    browser.click("Try now")
    browser.wait_for(LIVE)
    assert browser.text("#state") == "Live"


def test_an_answer_that_is_no_answer_does_not_end_it(browser: Browser, server: StatsServer):
    server.stats = None  # type: ignore[assignment]
    browser.open(server.url)
    browser.wait_for_text("This page does not understand the server", "#state")
    assert "TypeError" in browser.console()[-1]
    server.stats = {"models": [], "resident": [full_resident("beta")]}
    browser.wait_for_text("beta", "#models")


def test_buttons_ask_for_what_they_say_and_keep_the_focus(browser: Browser, server: StatsServer):
    browser.open(server.url)
    browser.wait_for(LIVE)
    browser.click("Unload alpha")
    browser.wait_for_text("Unloaded.", "#models")
    server.stats["resident"][0] |= {"state": "stopped", "work": None}
    focused = "document.activeElement.innerText.replace(/\\s+/g, ' ')"
    browser.wait_for(f"{focused} === 'Load alpha'")
    browser.click("Load alpha")
    browser.wait_for_text("Loaded.", "#models")
    browser.click("Pin alpha")
    browser.wait_for_text("Pinned", "#models")
    server.stats["resident"][0] |= {"state": "ready", "pinned": True}
    browser.wait_for(f"{focused} === 'Unpin alpha'")
    browser.click("Unpin alpha")
    wait_until(lambda: len(server.posted) == 4)
    paths = ["/admin/unload", "/admin/load", "/admin/pin", "/admin/unpin"]
    assert server.posted == [(path, {"model": "alpha"}, "1") for path in paths]


def test_a_model_that_is_loaded_from_the_list_takes_the_focus_along(
    browser: Browser, server: StatsServer
):
    browser.open(server.url)
    browser.wait_for_text("gamma", "#installed")
    browser.click("Load gamma")
    server.stats["resident"].append(full_resident("gamma", state="starting", progress=0.45))
    browser.wait_for_text("Loading · 45 %", "#models")
    assert "gamma" not in browser.text("#installed")
    browser.wait_for("document.activeElement.closest('#models li:nth-child(2)')")


def test_a_refusal_is_shown_with_its_remedy(browser: Browser, server: StatsServer):
    server.refusals["/admin/unload"] = {"message": "'alpha' is busy", "remedy": "wait a moment"}
    browser.open(server.url)
    browser.wait_for(LIVE)
    browser.click("Unload alpha")
    browser.wait_for_text("'alpha' is busy. Try: wait a moment", "#models")


def test_a_double_click_is_one_click(browser: Browser, server: StatsServer):
    browser.open(server.url)
    browser.wait_for(LIVE)
    button = "document.querySelector('#models .actions button:last-child')"
    click = f"{button}.dispatchEvent(new MouseEvent('click', {{detail: %d}}))"
    browser.run(click % 1)
    browser.wait_for_text("Unloaded.", "#models")
    browser.run(click % 2)  # came as soon as the first, but finds another label on the button
    n_polls = len(server.polls())
    wait_until(lambda: len(server.polls()) > n_polls)
    assert len(server.posted) == 1


def test_nothing_moves_and_nothing_is_made_anew_when_figures_change(
    browser: Browser, server: StatsServer
):
    server.stats["system"]["host"]["cpu_percent"] = None
    browser.open(server.url)
    browser.wait_for("document.querySelectorAll('#tiles .figure').length > 3")
    browser.wait_for_text("gamma", "#installed")
    browser.run(
        "window.nodes = [...document.querySelectorAll('main *:not(svg *)')]; window.places = () =>"
        " JSON.stringify(window.nodes.map((node) => node.getBoundingClientRect())"
        ".map((box) => [box.left, box.top].map(Math.round)));"
        "window.before = window.places(); window.scrollTo(0, 50); window.scrollTo(0, 0);"
    )
    server.stats["system"]["host"]["cpu_percent"] = 3.25
    server.stats["resident"][0] |= {"active": 7, "waiting": 31}
    server.stats["models"][0] |= {"requests": 1235, "completion_tokens": 45_999}
    browser.wait_for_text("31 waiting", "#tiles")
    assert browser.value("window.nodes.every((node) => node.isConnected)")
    assert browser.value("window.places() === window.before")
    server.stats["recent"].insert(0, full_request("alpha", -1, error="worker_crashed", status=502))
    browser.wait_for_text("✕ 502 · worker_crashed", "#requests tr:first-child")
    assert browser.value("window.nodes.every((node) => node.isConnected)")


def test_it_can_be_read_on_any_screen(browser: Browser, server: StatsServer):
    long = "org-with-a-long-name/Some-Model-32B-Instruct-GGUF:Q4_K_M-" + "x" * 60
    server.stats["resident"].append(full_resident(long, trouble="it died " * 20, state="stopped"))
    server.stats["recent"].append(full_request(long, 1, request_id="r" * 200))
    server.installed.append(long + "2")
    browser.open(server.url)
    browser.wait_for_text(long + "2", "#installed")
    for width, scheme in product((360, 800, 1400), ("light", "dark")):
        browser.emulate(width=width, scheme=scheme)
        assert browser.value("document.scrollingElement.scrollWidth") <= width
        assert browser.run(TEXTS_THAT_ARE_HARD_TO_READ) == []


def test_what_is_there_has_a_name_for_those_who_cannot_see_it(
    browser: Browser, server: StatsServer
):
    browser.open(server.url)
    browser.wait_for(LIVE)
    tree = browser.devtools("Accessibility.getFullAXTree")["nodes"]
    roles = [(n["role"]["value"], n.get("name", {}).get("value")) for n in tree if not n["ignored"]]
    for role in ("button", "link", "heading", "table", "region", "navigation"):
        names = [name for found, name in roles if found == role]
        assert names and all(names), role
    assert ("button", "Unload alpha") in roles
    assert ("table", "Latency of alpha") in roles
    assert ("columnheader", "p95") in roles
    assert [role for role, _ in roles if role == "status"] != []


def test_a_server_with_keys_asks_for_one_once_and_forgets_it(browser: Browser, server: StatsServer):
    server.needs_key = True
    browser.open(server.url)
    browser.wait_for("document.activeElement.id === 'key'")
    assert "alpha" not in browser.text()
    n_polls = len(server.polls())
    browser.type("#key", f"wrong{ENTER}")
    browser.wait_for_text("that is no key of an admin", "#sign-in")
    assert browser.value("document.querySelector('#key').value") == ""
    assert len(server.polls()) == n_polls
    browser.type("#key", f"{ADMIN_KEY}{ENTER}")
    browser.wait_for(LIVE)
    kept = browser.value(
        "document.documentElement.outerHTML + JSON.stringify([localStorage, sessionStorage,"
        " document.cookie, location.href, history.state,"
        " [...document.querySelectorAll('input')].map((field) => field.value)])"
    )
    assert ADMIN_KEY not in kept
    browser.open(server.url)
    browser.wait_for(LIVE)  # the cookie is enough, also in the next tab
    browser.click("Sign out")
    browser.wait_for("document.body.dataset.state === 'locked'")
    assert "alpha" not in browser.value("document.documentElement.outerHTML")


# Of each text its contrast with what is behind it, as WCAG counts it: 4.5 is enough.
TEXTS_THAT_ARE_HARD_TO_READ = """
const parse = (color) => color.match(/[\\d.]+/g).map(Number);
const light = (color) => parse(color).slice(0, 3).map((part) => part / 255)
  .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
  .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (node) => {
  const color = getComputedStyle(node).backgroundColor;
  return parse(color)[3] === 0 ? behind(node.parentElement) : color;
};
const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
return [...document.querySelectorAll('body *')]
  .filter((node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
  .filter((node) => node.checkVisibility() && node.tagName !== 'NOSCRIPT')
  .filter((node) => contrast(light(getComputedStyle(node).color), light(behind(node))) < 4.5)
  .map((node) => node.outerHTML.slice(0, 200));
"""
