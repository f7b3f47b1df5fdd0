"""``mlm ps``: who is running."""

import json
import os
from pathlib import Path

from fakes.fake_server import serving

from mlm.errors import ExitCode


def test_nobody_is_running(mlm):
    result = mlm("ps")
    assert (result.exit_code, result.stdout) == (ExitCode.OK, "no server is running\n")
    assert "mlm serve REF" in result.stderr


def test_a_running_server_is_listed_with_its_models(mlm, tmp_path: Path, monkeypatch):
    models = {"alpha": {}, "beta": {}, "gamma": {}}
    with serving(tmp_path, models) as server:
        server.wait_for("Loaded")
        home = tmp_path / "home"
        document = mlm("--home", home, "ps", "--json").json
        assert document["schema"] == "mlm.ps/1"
        (found,) = document["servers"]
        assert found["pid"] == server.process.pid
        assert found["url"] == server.url
        assert list(found["models"]) == ["alpha", "beta", "gamma"]
        assert [model["model"] for model in found["resident"]] == ["alpha", "beta"]
        table = mlm("--home", home, "ps").stdout
        assert server.url in table
        rows = {line.split()[-4 if "GiB" in line else -3]: line for line in table.splitlines()[1:]}
        assert "ready" in rows["alpha"]
        assert "on demand" in table.splitlines()[-1]
        monkeypatch.setenv("COLUMNS", "40")
        lines = mlm("--home", home, "ps").stdout.splitlines()
        assert lines[0] == f"{server.process.pid}  {server.url}"
        assert [line for line in lines if line.startswith("  ") and line.strip() in models] == [
            "  alpha", "  beta", "  gamma",
        ]  # fmt: skip
        assert lines[-1] == "    on demand"


def test_a_server_that_was_killed_is_swept_from_the_list(mlm, tmp_path: Path):
    with serving(tmp_path) as server:
        server.wait_for("Loaded")
        server.process.kill()
        server.wait()
    home = tmp_path / "home"
    assert list((home / "run").glob("*.json"))
    assert mlm("--home", home, "ps", "--json").json["servers"] == []
    assert not list((home / "run").glob("*.json"))


def test_a_process_that_only_inherited_the_number_is_not_a_server(mlm, home: Path):
    (home / "run").mkdir(parents=True)
    announced = {
        "pid": os.getpid(),
        "started_at": 12345.0,
        "url": "http://127.0.0.1:1",
        "models": {},
        "needs_key": False,
        "private": False,
    }
    (home / "run" / f"{os.getpid()}.json").write_text(json.dumps(announced))
    assert mlm("ps", "--json").json["servers"] == []


def test_nonsense_in_the_folder_is_swept_away(mlm, home: Path):
    (home / "run").mkdir(parents=True)
    for i, content in enumerate(["", "{", "[]", "null", '{"pid": "x"}', "\0\0"]):
        (home / "run" / f"{i}.json").write_text(content)
    (home / "run" / "9.json").write_bytes(b"\xff\xfe")
    assert mlm("ps").exit_code == ExitCode.OK
    assert not list((home / "run").iterdir())
