"""The file of kept answers: how long they stay, and what happens when it breaks."""

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlm.errors import ConflictError
from mlm.server.cache import ResponseCache, StoredAnswer, Template
from mlm.server.cache_file import CacheLimits, clear, edit_cache, read_cache

ANSWER = StoredAnswer(("Hel", "lo"), "stop", 7, 2, "fake")
TTL_S = 86_400.0
SIZE = len(msgspec.json.encode(ANSWER))


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


async def _nothing(cache: ResponseCache) -> None:
    await cache.count()


def _keys(path: Path) -> list[bytes]:
    connection = sqlite3.connect(path)
    keys = [row[0] for row in connection.execute("SELECT key FROM answers")]
    connection.close()
    return keys
