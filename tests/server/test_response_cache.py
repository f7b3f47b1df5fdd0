"""Answers that are kept: when, for whom, and what happens when the file breaks."""

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakes.fake_server import FakeServer, serving
from fakes.processes import wait_until

from mlm.errors import ConflictError
from mlm.server.cache import ResponseCache, StoredAnswer, Template
from mlm.server.cache_file import CacheLimits, clear, edit_cache, read_cache

ANSWER = StoredAnswer(("Hel", "lo"), "stop", 7, 2, "fake")
TTL_S = 86_400.0
SIZE = len(msgspec.json.encode(ANSWER))
Diary = Callable[[], list[str]]


def in_cache(
    path: Path,
    story: Callable[[ResponseCache], Coroutine[Any, Any, None]],
    limits: CacheLimits | None = None,
) -> None:
    """Tell a story with a cache, and close it."""

    async def tell() -> None:
        cache = ResponseCache(path, limits)
        try:
            await story(cache)
        finally:
            await asyncio.to_thread(cache.close)

    asyncio.run(tell())


async def store(
    cache: ResponseCache, key: bytes, answer: StoredAnswer = ANSWER, ttl_s: float = TTL_S
) -> None:
    """Store an answer and wait until that is done."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    cache.store(key, "tiny", answer, ttl_s, then=lambda: loop.call_soon_threadsafe(done.set))
    await done.wait()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "responses.sqlite"


@pytest.fixture
def edit(path: Path) -> Callable[[str], None]:
    """Change the file behind the cache's back."""

    def execute(statement: str) -> None:
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()

    return execute


def test_what_is_stored_is_found_also_after_a_restart(path: Path):
    async def first(cache: ResponseCache) -> None:
        assert await cache.find(b"key", TTL_S) is None
        await store(cache, b"key")
        assert await cache.find(b"key", TTL_S) == ANSWER
        assert await cache.find(b"other", TTL_S) is None

    async def second(cache: ResponseCache) -> None:
        assert await cache.find(b"key", TTL_S) == ANSWER

    in_cache(path, first)
    in_cache(path, second)


@pytest.mark.parametrize("age_s", [86_401, -3600])
def test_an_answer_that_is_too_old_or_from_the_future_is_not_given(
    path: Path, edit: Callable[[str], None], age_s: int
):
    async def story(cache: ResponseCache) -> None:
        await store(cache, b"key")
        edit(f"UPDATE answers SET created_at = created_at - {age_s}")
        assert await cache.find(b"key", TTL_S) is None

    in_cache(path, story)


def test_each_model_says_how_long_its_answers_are_good_for(path: Path, edit: Callable[[str], None]):
    async def story(cache: ResponseCache) -> None:
        await store(cache, b"brief", ttl_s=60)
        await store(cache, b"lasting", ttl_s=604_800)
        edit("UPDATE answers SET created_at = created_at - 3600, expires_at = expires_at - 3600")
        assert await cache.find(b"brief", 60) is None
        assert await cache.find(b"lasting", 604_800) == ANSWER

    in_cache(path, story)
    in_cache(path, _nothing)  # a start prunes
    assert _keys(path) == [b"lasting"]


def test_the_least_recently_used_answers_go_first(path: Path):
    async def story(cache: ResponseCache) -> None:
        for name in (b"a", b"b", b"c"):
            await store(cache, name)
        assert await cache.find(b"a", TTL_S)
        await store(cache, b"d")

    limits = CacheLimits(max_entries=3)
    in_cache(path, story, limits)
    in_cache(path, _nothing, limits)  # a start prunes
    assert sorted(_keys(path)) == [b"a", b"c", b"d"]


def test_the_bytes_are_limited_too(path: Path):
    async def story(cache: ResponseCache) -> None:
        for i in range(10):
            await store(cache, b"%d" % i)

    limits = CacheLimits(max_bytes=300)
    in_cache(path, story, limits)
    in_cache(path, _nothing, limits)
    assert 0 < sum(row["bytes"] for row in read_cache(path)) <= 300


def test_a_huge_answer_is_not_kept(path: Path):
    async def story(cache: ResponseCache) -> None:
        await store(cache, b"key", StoredAnswer(("x" * 1000,), "stop", 1, 1, ""))
        assert await cache.find(b"key", TTL_S) is None

    in_cache(path, story, CacheLimits(max_entry_bytes=500))


def test_clearing_forgets_everything_and_says_how_much(path: Path):
    async def story(cache: ResponseCache) -> None:
        await store(cache, b"a")
        await store(cache, b"b")
        count = await cache.count()
        assert count["entries"] == 2
        assert count["bytes"] == 2 * SIZE
        assert await cache.clear() == 2
        assert await cache.find(b"a", TTL_S) is None
        assert await cache.count() == {"entries": 0, "bytes": 0}

    in_cache(path, story)


def test_templates_are_remembered_over_a_restart(path: Path):
    async def first(cache: ResponseCache) -> None:
        cache.remember_template("model", Template("ab", True))
        assert await cache.template("model") == Template("ab", True)
        assert await cache.template("other") is None

    async def second(cache: ResponseCache) -> None:
        assert await cache.template("model") == Template("ab", True)

    in_cache(path, first)
    in_cache(path, second)


@pytest.mark.parametrize("damage", ["junk", "pages", "shrunk", "no tables"])
def test_a_damaged_file_is_replaced_and_work_goes_on(path: Path, damage: str):
    async def fill(cache: ResponseCache) -> None:
        for i in range(200):
            cache.store(b"%d" % i, "tiny", ANSWER, TTL_S, then=int)
        await store(cache, b"last")

    async def check(cache: ResponseCache) -> None:
        await store(cache, b"new")
        assert await cache.find(b"new", TTL_S) == ANSWER

    in_cache(path, fill)
    content = bytearray(path.read_bytes())
    rng = random.Random(3)
    if damage == "junk":
        content = bytearray(rng.randbytes(50_000))
    elif damage == "shrunk":
        content = content[: len(content) // 2]
    elif damage == "pages":
        for page in range(1, len(content) // 4096):
            content[page * 4096 : page * 4096 + 200] = rng.randbytes(200)
    path.write_bytes(content)
    if damage == "no tables":
        path.unlink()
        sqlite3.connect(path).close()
    in_cache(path, check)


def test_damage_while_the_server_runs_costs_no_request(path: Path):
    async def story(cache: ResponseCache) -> None:
        for i in range(300):
            cache.store(b"%d" % i, "tiny", ANSWER, TTL_S, then=int)
        await store(cache, b"last")
        with sqlite3.connect(path) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.close()
        path.write_bytes(b"junk" * 20_000)
        for i in range(50):
            await cache.find(b"%d" % i, TTL_S)
            await store(cache, b"again")
        assert await cache.find(b"again", TTL_S) == ANSWER

    in_cache(path, story)


def test_a_row_that_makes_no_sense_is_not_found(path: Path, edit: Callable[[str], None]):
    async def story(cache: ResponseCache) -> None:
        await store(cache, b"key")
        for nonsense in ("{", "[]", '{"pieces": 5}', '{"pieces": ["a"]}', "null"):
            edit(f"UPDATE answers SET answer = '{nonsense}'")
            assert await cache.find(b"key", TTL_S) is None

    in_cache(path, story)


def test_where_nothing_can_be_written_everything_is_a_miss(tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")

    async def story(cache: ResponseCache) -> None:
        await store(cache, b"key")
        assert await cache.find(b"key", TTL_S) is None
        assert await cache.clear() == 0
        assert await cache.count() == {"entries": 0, "bytes": 0}

    in_cache(blocked / "responses.sqlite", story)


def test_a_lock_that_somebody_holds_delays_no_reader(path: Path):
    async def story(cache: ResponseCache) -> None:
        await store(cache, b"key")
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        try:
            async with asyncio.timeout(3):
                assert await cache.find(b"key", TTL_S) == ANSWER
        finally:
            holder.execute("ROLLBACK")
            holder.close()

    in_cache(path, story)


def test_two_servers_share_one_cache(path: Path):
    async def story(cache: ResponseCache) -> None:
        other = ResponseCache(path)
        await store(cache, b"key")
        assert await other.find(b"key", TTL_S) == ANSWER
        await asyncio.to_thread(other.close)

    in_cache(path, story)


def test_the_command_line_reads_and_clears_the_same_file(path: Path):
    assert read_cache(path) == []
    assert edit_cache(path, clear) == 0

    async def story(cache: ResponseCache) -> None:
        await store(cache, b"key")

    in_cache(path, story)
    (row,) = read_cache(path)
    assert (row["model"], row["entries"], row["bytes"]) == ("tiny", 1, SIZE)
    assert edit_cache(path, clear) == 1
    assert read_cache(path) == []


def test_a_file_that_is_a_folder_is_a_conflict_for_the_command_line(path: Path):
    path.mkdir()
    with pytest.raises(ConflictError):
        edit_cache(path, clear)


# Over HTTP


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


def test_what_is_to_be_kept_for_no_time_is_not_kept_even_if_the_clock_steps_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def story(cache: ResponseCache) -> None:
        stored = asyncio.Event()
        cache.store(b"never", "alpha", ANSWER, 0.0, then=stored.set)
        assert stored.is_set()  # at once: nothing is written
        await store(cache, b"kept")
        earlier = time.time() - 5
        monkeypatch.setattr("mlm.server.cache.time.time", lambda: earlier)
        assert await cache.find(b"kept", 0.0) is None
        assert await cache.find(b"kept", TTL_S) == ANSWER

    in_cache(path, story)


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


async def _nothing(cache: ResponseCache) -> None:
    await cache.count()


def _keys(path: Path) -> list[bytes]:
    connection = sqlite3.connect(path)
    keys = [row[0] for row in connection.execute("SELECT key FROM answers")]
    connection.close()
    return keys
