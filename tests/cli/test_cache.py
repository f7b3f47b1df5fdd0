"""``mlm cache``: answers that are kept."""

import sqlite3
from pathlib import Path

from fakes.fake_server import serving

from mlm.errors import ExitCode


def test_an_empty_cache_says_so(mlm, home: Path):
    assert "no answers are kept" in mlm("cache", "stats").stdout
    assert mlm("cache", "clear").stdout == "forgot 0 answers\n"
    assert mlm("cache", "prune").stdout == "forgot 0 answers\n"
    assert not home.exists()


def test_stats_clear_and_prune_work_beside_a_running_server(mlm, tmp_path: Path):
    home = tmp_path / "home"
    with serving(tmp_path) as server:
        server.wait_for("Loaded")
        for i in range(3):
            server.chat(f"question {i}", temperature=0)
        assert server.chat("question 0", temperature=0).headers["X-Mlm-Cache"] == "hit"
        server.stats()  # waits until the answers are written
        document = mlm("--home", home, "cache", "stats", "--json").json
        assert document["schema"] == "mlm.cache.stats/1"
        assert document["entries"] == 3
        assert document["models"][0]["model"] == "alpha"
        assert "alpha" in mlm("--home", home, "cache", "stats").stdout
        assert mlm("--home", home, "cache", "clear", "--json").json["cleared"] == 3
        assert server.chat("question 0", temperature=0).headers["X-Mlm-Cache"] == "miss"


def test_prune_forgets_what_is_too_old(mlm, tmp_path: Path):
    home = tmp_path / "home"
    with serving(tmp_path) as server:
        server.wait_for("Loaded")
        for i in range(3):
            server.chat(f"question {i}", temperature=0)
        server.stop()
    database = sqlite3.connect(home / "responses.sqlite")
    database.execute("UPDATE answers SET expires_at = 5 WHERE key = (SELECT min(key) FROM answers)")
    database.commit()
    database.close()
    assert mlm("--home", home, "cache", "prune", "--json").json["pruned"] == 1
    assert mlm("--home", home, "cache", "stats", "--json").json["entries"] == 2


def test_a_cache_that_cannot_be_written_is_a_conflict(mlm, home: Path):
    (home / "responses.sqlite").mkdir(parents=True)
    result = mlm("cache", "clear")
    assert result.exit_code == ExitCode.CONFLICT
    assert "Traceback" not in result.stderr


def test_a_damaged_cache_is_put_aside(mlm, home: Path):
    home.mkdir()
    (home / "responses.sqlite").write_bytes(b"junk" * 5000)
    assert mlm("cache", "stats").exit_code == ExitCode.OK
    assert (home / "responses.sqlite.broken").exists()
