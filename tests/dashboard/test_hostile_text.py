"""What anybody may have put into a name, an error or an id stays text on the page."""

from typing import Any

import pytest
from fakes.browser import Browser
from fakes.stats_server import StatsServer, full_request, full_resident, full_stats

pytestmark = pytest.mark.browser

DEED = "window.pwned=1"
CORPUS = (
    f"<script>{DEED}</script>",
    f"<img src=x onerror={DEED}>",
    f'"><svg onload={DEED}>',
    f"' autofocus onfocus='{DEED}",
    f"javascript:{DEED}",
    f"<a href=javascript:{DEED}>x</a>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    f"</span></li></ul></main><script>{DEED}</script>",
    f"</title></style></textarea><script>{DEED}</script>",
    f"<math><mtext></table></math><img src=x onerror={DEED}>",
    f"<details open ontoggle={DEED}>",
    f"<input autofocus onfocus={DEED}>",
    f"<noscript><p title='</noscript><img src=x onerror={DEED}>'>",
    f"<body onload={DEED}>",
    f"&lt;img src=x onerror={DEED}&gt;",
    f"<template><script>{DEED}</script></template>",
    f"{{{{constructor.constructor('{DEED}')()}}}}",
    f"${{{DEED}}}",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<link rel=stylesheet href=//evil.example>",
    "<form action=//evil.example><button>Sign in</button></form>",
    "<style>*{display:none}</style>",
    "<object data=//evil.example></object>",
    "<video src=//evil.example></video>",
    "\u202egnp.exe\u2066\u200f",
    "\x1b[2J\x00\x07\x9b1m",
    "\ud800 alone",
    "__proto__",
    "constructor",
    "A" * 20_000,
)
FOREIGN = (
    "img, iframe, object, embed, video, audio, style, base, template, math, details, textarea,"
    " main script, [srcdoc], [action], [style], meta[http-equiv], #models a, #requests a"
)


def stats_with(text: str) -> dict[str, Any]:
    """Return a document that has a text wherever a server may have one."""
    stats = full_stats()
    stats["mlm_version"] = text
    stats["system"]["gpus"][0]["name"] = text
    stats["models"][0]["model"] = text
    stats["resident"] = [full_resident(text, state="stopped", trouble=text)]
    named = dict.fromkeys(("request_id", "endpoint", "cache", "error", "status"), text)
    stats["recent"] = [full_request(text, 0, **named)]
    return stats


def test_no_text_becomes_anything_but_text(browser: Browser, server: StatsServer):
    everything = [stats_with(text) for text in CORPUS]
    server.stats = everything[0]
    for name in ("resident", "recent", "models"):
        server.stats[name] = [document[name][0] for document in everything]
    server.stats["system"]["gpus"] = [document["system"]["gpus"][0] for document in everything]
    server.installed = [f"{text}!" for text in CORPUS]
    browser.open(server.url)
    browser.wait_for(f"document.querySelectorAll('#models > li').length === {len(CORPUS)}")
    browser.wait_for(f"document.querySelectorAll('#installed > li').length === {len(CORPUS)}")
    assert browser.value("document.querySelectorAll('#requests > tr').length") == len(CORPUS)
    assert (
        browser.value(f"[...document.querySelectorAll({FOREIGN!r})].map((n) => n.outerHTML)") == []
    )
    handlers = "[...document.querySelectorAll('*')].flatMap((n) => n.getAttributeNames())"
    assert browser.value(f"{handlers}.filter((name) => name.startsWith('on'))") == []
    assert browser.value("document.scripts.length") == 1
    assert browser.value("window.pwned") is None
    names = browser.value("[...document.querySelectorAll('#models h3')].map((n) => n.textContent)")
    assert names[: len(CORPUS) - 6] == list(CORPUS[:-6])
    assert browser.value("document.scrollingElement.scrollWidth") <= 1000
    text = browser.value("document.body.textContent")
    assert [c for c in text if c in "\x00\x07\x1b\x9b\u202e\u2066\u200f"] == []


def test_a_refusal_is_text_too(browser: Browser, server: StatsServer):
    text = CORPUS[1]
    server.refusals["/admin/unload"] = {"message": text, "remedy": text}
    browser.open(server.url)
    browser.wait_for("document.body.dataset.state === 'live'")
    browser.click("Unload alpha")
    browser.wait_for_text(f"{text}. Try: {text}", "#models")
    assert browser.value("document.images.length") == 0
    assert browser.value("window.pwned") is None


def test_even_a_fault_in_the_page_could_make_no_markup_and_reach_nobody_else(
    browser: Browser, server: StatsServer
):
    browser.open(server.url)
    browser.wait_for("document.body.dataset.state === 'live'")
    for deed in (
        "document.body.innerHTML = '<b>x</b>'",
        "document.write('<b>x</b>')",
        "script.textContent = 'window.pwned = 1'",
        "script.src = '/dashboard/main.js'",
    ):
        attempt = f"try {{ {deed}; return 'done' }} catch (error) {{ return error.name }}"
        outcome = browser.run(f"const script = document.createElement('script'); {attempt}")
        assert outcome == "TypeError", deed
    browser.run(
        "const style = document.createElement('style');"
        "style.append('main { position: fixed }'); document.head.append(style);"
        "const image = new Image(); image.src = 'http://127.0.0.1:9/'; document.body.append(image);"
        "fetch('http://127.0.0.1:9/').catch(() => {});"
    )
    assert browser.value("getComputedStyle(document.querySelector('main')).position") == "static"
    assert browser.value("window.pwned") is None
    said = "\n".join(browser.console())
    for kind in ("Applying inline style", "Loading the image", "Connecting to"):
        assert f"{kind} 'http" in said or f"{kind} violates" in said, said
