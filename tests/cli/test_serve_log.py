"""What `mlm serve` tells a person, and a program."""

import json
import os
import sys
from pathlib import Path

import pytest

from mlm.cli._serve_log import open_log
from mlm.cli._session import Session
from mlm.server.run import Changed, Listening, Loaded
from mlm.settings import Settings


@pytest.mark.parametrize("needs_key", [True, False])
def test_the_example_has_a_key_where_one_is_needed(
    capfd: pytest.CaptureFixture[str], needs_key: bool
):
    session = Session(Settings.from_environment(), quiet=False)
    with open_log(session, as_json=False) as tell:
        tell(Listening("http://127.0.0.1:1", needs_key))
        tell(Loaded(("mlm-demo",)))
    assert ('-H "Authorization: Bearer $KEY"' in capfd.readouterr().out) == needs_key


def test_events_are_lines_of_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with (tmp_path / "stdout").open("w+") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with open_log(quiet(), as_json=True) as tell:
            tell(Listening("http://127.0.0.1:1"))
            tell(Changed("a", "ready", 1.0))
        stdout.seek(0)
        events = [json.loads(line) for line in stdout]
    assert events == [
        {"event": "listening", "url": "http://127.0.0.1:1", "needs_key": False},
        {"event": "changed", "model_id": "a", "state": "ready", "progress": 1.0},
    ]


@pytest.mark.parametrize("as_json", [True, False])
def test_who_stops_reading_events_holds_nobody_up(monkeypatch: pytest.MonkeyPatch, as_json: bool):
    """A program, or a person at a terminal that was stopped (Ctrl-S)."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        monkeypatch.setattr(sys, "stderr", pipe)
        session = Session(Settings.from_environment(), quiet=False)
        with open_log(session, as_json=as_json) as tell:
            for number in range(10_000):
                tell(Changed(f"model-{number}", "starting", 0.5))
            os.close(reading)


def quiet() -> Session:
    return Session(Settings.from_environment(), quiet=True)
