"""What requests get of the response cache: when, and for whom."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fakes.fake_server import FakeServer, serving
from fakes.processes import wait_until

Diary = Callable[[], list[str]]


def test_the_second_identical_request_is_a_hit(server: FakeServer, diary: Diary):
    first = server.chat("n=3 second", temperature=0)
    second = server.chat("n=3 second", temperature=0)
    assert (first.headers["X-Mlm-Cache"], second.headers["X-Mlm-Cache"]) == ("miss", "hit")
    assert first.text == second.text
    assert first.json["usage"] == second.json["usage"]
    assert first.json["id"] != second.json["id"]
    assert len(diary()) == 1


def test_the_config_of_a_model_says_how_long_its_answers_are_kept(tmp_path: Path):
    models = {"brief": {"config": {"cache_ttl_s": 0}}, "usual": {}}
    with serving(tmp_path, models) as own:
        own.wait_for("Loaded")
        for name, expected in (("brief", "miss"), ("usual", "hit")):
            body = {"model": name, "prompt": "again", "temperature": 0}
            replies = [own.ask("POST", "/v1/completions", body) for _ in range(2)]
            assert replies[1].headers["X-Mlm-Cache"] == expected


def test_a_hit_replays_as_a_stream_in_the_same_pieces(server: FakeServer):
    first = server.chat("n=3 replay", temperature=0, stream=True)
    whole = server.chat("n=3 replay", temperature=0)
    second = server.chat("n=3 replay", temperature=0, stream=True)
    assert [reply.headers["X-Mlm-Cache"] for reply in (first, whole, second)] == [
        "miss",
        "hit",
        "hit",
    ]
    assert second.text == first.text == whole.text
    assert len(second.events) == len(first.events)
    assert second.events[-1]["mlm"]["cache"] == "hit"
    assert second.done


def test_a_seed_makes_a_request_repeatable(server: FakeServer):
    words = [server.chat("seeded", seed=7).headers["X-Mlm-Cache"] for _ in range(2)]
    assert words == ["miss", "hit"]
    assert server.chat("seeded", seed=8).headers["X-Mlm-Cache"] == "miss"


def test_what_is_left_to_chance_is_never_kept(server: FakeServer, diary: Diary):
    words = [server.chat("chance").headers["X-Mlm-Cache"] for _ in range(2)]
    assert words == ["bypass", "bypass"]
    assert len(diary()) == 2


@pytest.mark.parametrize("wish", ["no-store", "No-Cache, max-age=0"])
def test_a_client_may_opt_out(server: FakeServer, wish: str):
    body = {"model": "alpha", "prompt": f"opt out {wish}", "temperature": 0}
    for _ in range(2):
        reply = server.ask("POST", "/v1/completions", body, {"Cache-Control": wish})
        assert reply.headers["X-Mlm-Cache"] == "bypass"


@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": 3},
        {"stop": "x"},
        {"temperature": 0, "top_p": 0.5},
        {"messages": [{"role": "system", "content": "n=3 base"}]},
        {"chat_template_kwargs": {"thinking": True}},
        {"logit_bias": {"5": 1}},
    ],
    ids=str,
)
def test_whatever_the_model_sees_belongs_to_the_key(server: FakeServer, change: dict[str, Any]):
    server.chat("n=3 base", temperature=0)
    assert server.chat("n=3 base", temperature=0).headers["X-Mlm-Cache"] == "hit"
    changed = {"temperature": 0, "unrelated": str(change)} | change
    assert server.chat("n=3 base", **changed).headers["X-Mlm-Cache"] == "miss"


@pytest.mark.parametrize("change", [{"user": "me"}, {"stream": False}, {"cache_prompt": False}])
def test_what_the_model_does_not_see_does_not(server: FakeServer, change: dict[str, Any]):
    server.chat("n=3 plumbing", temperature=0)
    reply = server.chat("n=3 plumbing", temperature=0, **change)
    assert reply.headers["X-Mlm-Cache"] == "hit"


def test_ten_clients_with_the_same_question_share_one_generation(server: FakeServer, diary: Diary):
    def ask(i: int) -> Any:
        return server.chat("n=20 pace=0.01 crowd", temperature=0, stream=i % 2 == 0)

    with ThreadPoolExecutor(10) as clients:
        replies = list(clients.map(ask, range(10)))
    assert {reply.text for reply in replies} == {replies[0].text}
    words = [reply.headers["X-Mlm-Cache"] for reply in replies]
    assert words.count("miss") == 1
    assert set(words) <= {"miss", "shared", "hit"}
    assert len(diary()) == 1


def test_who_asked_first_may_leave_while_others_share(server: FakeServer, diary: Diary):
    wish = "n=30 pace=0.01 leader-leaves"
    leader = server.open_stream(wish, temperature=0)
    leader.read_until("t2 ")
    with ThreadPoolExecutor(1) as clients:
        follower = clients.submit(server.chat, wish, temperature=0)
        wait_until(lambda: server.resident()["active"])
        stream = server.open_stream(wish, temperature=0)
        stream.read_until("t3 ")
        leader.leave()
        assert len(follower.result().text.split()) == 30
    assert len(stream.rest().text.split()) == 30
    assert diary() == ["request "]


def test_failures_are_not_kept(server: FakeServer):
    for _ in range(2):
        reply = server.chat("fail=engine_error keep", temperature=0)
        assert reply.status == 500


def test_an_aborted_answer_is_not_kept(server: FakeServer, diary: Diary):
    wish = "n=50 pace=0.01 abort"
    stream = server.open_stream(wish, temperature=0)
    stream.read_until("t1 ")
    stream.leave()
    wait_until(lambda: "cancelled" in diary())
    reply = server.chat(wish, temperature=0)
    assert reply.headers["X-Mlm-Cache"] == "miss"
    assert len(reply.text.split()) == 50


def test_clearing_over_http_forgets_the_answers(server: FakeServer):
    server.chat("to be cleared", temperature=0)
    assert server.ask("POST", "/admin/clear-cache").json["cleared"] >= 1
    assert server.chat("to be cleared", temperature=0).headers["X-Mlm-Cache"] == "miss"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    """A server with two keys and three models of different cache policies."""
    folder = tmp_path_factory.mktemp("keyed")
    (folder / "keys").write_text("key-of-alice\nkey-of-bob\n")
    models: dict[str, dict[str, Any]] = {
        "alpha": {},
        "all": {"config": {"response_cache": "all"}},
        "off": {"config": {"response_cache": "off", "max_tokens": 2}},
    }
    with serving(folder, models, key_file=str(folder / "keys"), max_models=3) as server:
        server.wait_for("Loaded")
        yield server


def ask_as(server: FakeServer, key: str, content: str, **params: Any) -> Any:
    """Ask with a key."""
    body = {"model": "alpha", "messages": [{"role": "user", "content": content}], **params}
    return server.ask("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {key}"})


def test_no_tenant_ever_gets_what_another_one_asked(keyed: FakeServer):
    for content in (f"n=2 tenant {i}" for i in range(20)):
        alice = ask_as(keyed, "key-of-alice", content, temperature=0)
        bob = ask_as(keyed, "key-of-bob", content, temperature=0)
        assert (alice.headers["X-Mlm-Cache"], bob.headers["X-Mlm-Cache"]) == ("miss", "miss")
        again = ask_as(keyed, "key-of-alice", content, temperature=0)
        assert again.headers["X-Mlm-Cache"] == "hit"


def test_no_tenant_shares_a_generation_with_another_one(keyed: FakeServer):
    def ask(i: int) -> Any:
        key = "key-of-alice" if i % 2 else "key-of-bob"
        return ask_as(keyed, key, "n=20 pace=0.01 both", temperature=0)

    with ThreadPoolExecutor(8) as clients:
        replies = list(clients.map(ask, range(8)))
    assert [reply.headers["X-Mlm-Cache"] for reply in replies].count("miss") == 2


def test_the_policy_of_a_model_decides(keyed: FakeServer):
    def words(model: str, **params: Any) -> list[str]:
        replies = [ask_as(keyed, "key-of-bob", "policy", model=model, **params) for _ in range(2)]
        return [reply.headers["X-Mlm-Cache"] for reply in replies]

    assert words("all") == ["miss", "hit"]
    assert words("off", temperature=0) == ["bypass", "bypass"]


def test_the_config_of_a_model_limits_answers_that_set_no_limit(keyed: FakeServer):
    assert ask_as(keyed, "key-of-bob", "n=5", model="off").text == "t0 t1 "
    assert ask_as(keyed, "key-of-bob", "n=5", model="off", max_tokens=3).text == "t0 t1 t2 "


def test_a_hit_needs_no_worker(tmp_path: Path):
    with serving(tmp_path, {"alpha": {"installed": True}, "beta": {"installed": True}}) as server:
        server.wait_for("Loaded")
        first = server.chat("cold", temperature=0)
        assert first.headers["X-Mlm-Cache"] == "miss"
        server.stop()
    with serving(tmp_path, {"alpha": {"installed": True}}) as server:
        reply = server.chat("cold", temperature=0)
        assert reply.headers["X-Mlm-Cache"] == "hit"
        assert reply.text == first.text
        assert server.stats()["resident"] == []


def test_a_changed_model_file_has_answers_of_its_own(tmp_path: Path):
    with serving(tmp_path, {"alpha": {}}) as server:
        server.chat("changing", temperature=0)
        server.stop()
    with serving(tmp_path, {"alpha": {"load_s": 0.001}}) as server:
        assert server.chat("changing", temperature=0).headers["X-Mlm-Cache"] == "miss"
