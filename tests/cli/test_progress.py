"""The progress of downloads: a steady block on a terminal, lines in a log, JSON for programs."""

import json
import random
import re
import signal
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pexpect
import pytest
from fakes.clock import Clock
from fakes.hub import FakeHub, File
from fakes.hub.tiny import REPO, TINY
from fakes.screen import Screen

from mlm.cli._progress import JsonLines, Lines
from mlm.cli._progress_block import TerminalBlock
from mlm.cli._progress_lines import ASCII, Row, draw_lines
from mlm.cli._session import Session
from mlm.cli._speed import Speeds
from mlm.settings import Settings
from mlm.store.listener import Phase, Progress
from mlm.units import GIB, MIB

NAME = "a-model-with-a-rather-long-name-Instruct-v0.3.Q4_K_M.gguf"


def at(done: int, total: int = 100 * MIB, name: str = NAME, **more) -> Progress:
    phase: Phase = more.pop("phase", "downloading")
    return Progress(name, phase, done, total, **more)


class Watched:
    """A block on a screen; nothing is drawn but by `tick`, so every drawing can be looked at."""

    def __init__(self, columns: int, rows: int = 24) -> None:
        self.screen, self.clock = Screen(columns, rows), Clock()
        self.session = Session(Settings.from_environment({}), quiet=False)
        self.block = TerminalBlock(self.session, self.screen, self.clock)

    def tick(self, *events: Progress, seconds: float = 0.1) -> list[str]:
        self.clock.now += seconds
        for event in events:
            self.block.progress(event)
        self.block.draw()
        return self.screen.lines


# The lines


@pytest.mark.parametrize("columns", [1, 2, 5, 6, 12, 20, 40, 64, 80, 132, 500])
def test_lines_of_any_figures_have_one_length_that_fits(columns: int):
    chance = random.Random(columns)
    rows = [
        Row(
            name="x" * chance.randrange(200),
            done=(total := 10 ** chance.randrange(16)) * chance.randrange(101) // 100,
            total=total,
            state=chance.choice(["", "checking", "waiting"]),
            verified=chance.choice([None, 0]),
            rate=chance.choice([None, 0.0, 1.5 * 10 ** chance.randrange(12)]),
            eta_s=chance.choice([None, 0.0, 1.7 * 10 ** chance.randrange(9)]),
            connections=chance.choice([0, 1, 2, 16]),
        )
        for _ in range(500)
    ]
    lines = draw_lines(rows, columns)
    assert {len(line) for line in lines} == {len(lines[0])}
    assert len(lines[0]) <= max(1, columns - 1)
    assert all(len(draw_lines([row], columns)[0]) == len(lines[0]) for row in rows)


def test_a_wide_terminal_shows_all_there_is():
    row = Row("tiny.gguf", GIB, 4 * GIB, "", GIB // 2, 100.0 * MIB, 30.7, 8)
    (line,) = draw_lines([row], 80, ASCII)
    assert " ".join(line.split()) == (
        "tiny.gguf #=-------- 25% 1.00 GiB/4.00 GiB 100 MiB/s x8 31 s"
    )


@pytest.mark.parametrize(
    ("columns", "shown"),
    [(40, "tiny.gguf 25% 100 MiB/s 31 s"), (20, "tiny.gguf 25%"), (5, "25%")],
)
def test_a_narrow_terminal_shows_what_matters_most(columns: int, shown: str):
    row = Row("tiny.gguf", GIB, 4 * GIB, "", GIB // 2, 100.0 * MIB, 30.7, 8)
    assert draw_lines([row], columns)[0].split() == shown.split()


def test_a_long_name_keeps_its_quantization():
    (line,) = draw_lines([Row(NAME, 0, 1)], 40)
    assert line.split()[0] == "a-mod…0.3.Q4_K_M"


def test_names_in_wide_characters_take_the_cells_that_they_need():
    from rich.cells import cell_len

    lines = draw_lines([Row("模型" * 30, 0, 1), Row("model", 0, 1)], 80)
    assert cell_len(lines[0]) == cell_len(lines[1])


def test_all_but_a_byte_is_not_100_percent():
    assert "99%" in draw_lines([Row("x", 10**9 - 1, 10**9)], 80)[0]


# The speed


def test_the_rate_is_that_of_the_last_seconds():
    speeds = Speeds()
    for second in range(60):
        pace = speeds.measure(at(second * MIB // 2, GIB), 1000.0 + second)
    assert pace.rate == pytest.approx(MIB / 2)
    for second in range(60, 66):
        pace = speeds.measure(at((second - 30) * 4 * MIB, GIB), 1000.0 + second)
    assert pace.rate == pytest.approx(4 * MIB)


def test_what_was_there_before_is_no_speed():
    speeds = Speeds()
    speeds.measure(at(10 * MIB, phase="checking"), 1000.0)
    speeds.measure(at(80 * MIB, phase="checking"), 1000.1)
    assert speeds.measure(at(80 * MIB), 1000.2).rate is None
    pace = speeds.measure(at(81 * MIB), 1001.2)
    assert pace.rate == pytest.approx(MIB)
    assert pace.eta_s == pytest.approx(19)


def test_the_time_left_does_not_jump_with_every_breath_of_the_network():
    speeds, done, guesses = Speeds(), 0, []
    for tenth in range(600):
        done += 2 * MIB if tenth // 10 % 2 else 0  # a second of silence, a second of plenty
        guesses.append(speeds.measure(at(done, 4 * GIB), 1000 + tenth / 10).eta_s)
    for before, after in pairwise(guesses[300:]):
        assert abs(after - before) < 0.05 * before


def test_a_stalled_download_says_so():
    speeds = Speeds()
    speeds.measure(at(0), 1000.0)
    assert speeds.measure(at(MIB), 1001.0).rate == pytest.approx(MIB)
    assert speeds.measure(at(MIB), 1007.0).rate == 0


def test_a_finished_file_keeps_the_pace_of_all_of_it():
    speeds = Speeds()
    speeds.measure(at(0), 1000.0)
    speeds.measure(at(99 * MIB), 1090.0)
    assert speeds.measure(at(100 * MIB), 1100.0).rate == pytest.approx(MIB)


# The block


@pytest.mark.parametrize("columns", [80, 40, 20])
def test_the_block_stays_where_it_is(columns: int):
    watched = Watched(columns, rows=10)
    watched.screen.write("\n" * 7)  # it begins near the bottom, so it has to scroll once
    watched.block.expect({f"{n}{NAME}": 100 * MIB for n in range(3)})
    for step in range(200):
        events = [at(step * MIB // 2, name=f"{n}{NAME}", connections=step % 9) for n in range(3)]
        lines = watched.tick(*events)
        assert len(lines) == 7 + 4
        assert watched.screen.cursor == (7, 0)
        assert {len(line) <= columns for line in lines} == {True}
    assert "0 of 3 files" in lines[-1] or columns == 20


def test_a_resize_leaves_nothing_behind():
    watched = Watched(80)
    watched.screen.write("$ mlm\n")
    events = [at(MIB, name="one.gguf"), at(2 * MIB, name="two.gguf")]
    watched.tick(*events)
    for columns in (30, 100, 20, 80):
        watched.screen.resize(columns)
        lines = watched.tick(*events, seconds=1)
        assert len([line for line in lines if line]) == 1 + 3
    assert lines[0] == "$ mlm"
    assert [line.split()[0] for line in lines[1:]] == ["one.gguf", "two.gguf", "0"]


def test_notes_go_above_the_block(capsys):
    watched = Watched(80)
    watched.tick(at(MIB))
    watched.block.note("trying \x1b[2Jagain")
    assert capsys.readouterr().err == "trying again\n"
    assert watched.screen.cursor == (0, 0)


def test_files_that_are_done_make_room_for_others():
    watched = Watched(80, rows=6)
    names = [f"part-{n:02d}.gguf" for n in range(30)]
    watched.block.expect(dict.fromkeys(names, MIB))
    for name in names:
        watched.tick(at(0, MIB, name))
        lines = watched.tick(at(MIB, MIB, name))
        assert len(lines) - watched.screen.cursor[0] <= 5
    assert [line.split()[0] for line in lines] == [*names, "30"]
    assert all("100%" in line for line in lines)


def test_a_file_that_starts_anew_comes_back():
    watched = Watched(80, rows=4)
    for name in ("one.gguf", "two.gguf", "three.gguf"):
        watched.tick(at(MIB, MIB, name))
    lines = watched.tick(at(0, MIB, "one.gguf"))
    assert lines[-1].split()[:4] == ["2", "of", "3", "files"]
    assert any(line.split()[0] == "one.gguf" and " 0%" in line for line in lines[-3:])


def test_only_what_is_verified_counts_as_finished():
    watched = Watched(80, rows=4)
    for n in range(9):
        lines = watched.tick(at(MIB, MIB, f"{n}.gguf", verified=MIB // 2))
    assert lines[-1].startswith("0 of 9 files") and len(lines) == 3


def test_names_cannot_command_the_terminal():
    watched = Watched(80)
    lines = watched.tick(at(1, name="a\x1b]0;owned\x07\x9b31m\n\r\tb\u202e.gguf"))
    assert len(lines) == 1 and lines[0].startswith("a") and "owned" not in lines[0]


def test_a_line_that_the_terminal_takes_for_longer_does_not_make_the_block_grow():
    watched = Watched(30)
    watched.screen.columns = 25  # as if some of the characters were wider than we think
    watched.screen.size = lambda: (30, 24)
    for step in range(5):
        assert len(watched.tick(at(step * MIB))) == 1


def test_many_threads_may_report_while_it_is_drawn():
    watched = Watched(80)

    def report(name: str) -> None:
        for step in range(2000):
            watched.block.progress(at(step, 1999, name))

    threads = [threading.Thread(target=report, args=(f"{n}.gguf",)) for n in range(8)]
    with watched.block:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len([line for line in watched.screen.lines if "100%" in line]) == 9


# On a real terminal


@pytest.mark.parametrize("columns", [80, 40, 20])
def test_a_download_on_a_terminal_ends_complete(hub: FakeHub, columns: int, monkeypatch):
    hub.add(REPO, File(NAME, TINY))
    monkeypatch.setenv("TERM", "xterm")
    command = ["-m", "mlm", "download", f"{REPO}:Q4_K_M", "--json"]
    child = pexpect.spawn(sys.executable, command, dimensions=(24, columns), encoding="utf-8")
    child.expect(pexpect.EOF, timeout=60)
    child.close()
    assert child.exitstatus == 0, child.before
    screen = Screen(columns)
    screen.write(child.before.partition("{")[0])
    assert len(screen.lines) == 2 and "100%" in screen.lines[0] and screen.lines[1] == ""
    assert "/s" in screen.lines[0] or columns == 20


SHOW = """
import sys
from mlm.cli._progress import show_progress
from mlm.cli._session import Session
from mlm.settings import Settings
from mlm.store.listener import Progress

try:
    with show_progress(Session(Settings.from_environment({}), quiet=False)) as listener:
        listener.progress(Progress("one.gguf", "downloading", 1, 10))
        listener.progress(Progress("two.gguf", "downloading", 1, 10))
        if sys.argv[1] == "fail":
            raise RuntimeError("no more")
        input()
finally:
    print("the end", file=sys.stderr)
"""


@pytest.mark.parametrize("how", ["fail", "interrupt"])
def test_whatever_ends_it_the_terminal_is_left_in_order(how: str, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    (tmp_path / "show.py").write_text(SHOW)
    command = [str(tmp_path / "show.py"), how]
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    child = pexpect.spawn(
        sys.executable, command, dimensions=(24, 80), encoding="utf-8", echo=False
    )
    shown = ""
    if how == "interrupt":
        child.expect("0 of 2 files")
        shown = child.before + child.after
        child.kill(signal.SIGINT)
    child.expect(pexpect.EOF, timeout=60)
    child.close()
    screen = Screen(80)
    screen.write(shown + child.before.partition("Traceback")[0])
    first_words = [line.split()[0] for line in screen.lines if line]
    assert first_words == ["one.gguf", "two.gguf", "0", "the"]
    assert re.findall(r"\x1b\[\?25|\x1b\[\?7l(?!.*\x1b\[\?7h)", shown + child.before, re.S) == []


# Without one


@pytest.fixture
def loud() -> Session:
    return Session(Settings.from_environment({}), quiet=False)


def test_a_log_gets_a_line_per_twentieth(loud: Session, capsys):
    lines = Lines(loud)
    for done in range(10_001):
        lines.progress(at(done, 10_000))
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 21
    assert shown[10].split("  ")[:3] == [NAME, " 50%", "4.88 KiB of 9.77 KiB"]


def test_a_log_shows_when_a_file_starts_anew(loud: Session, capsys):
    lines = Lines(loud)
    for done in (0, 50, 100, 0, 50, 100):
        lines.progress(at(done, 100))
    assert len(capsys.readouterr().err.splitlines()) == 6


def test_programs_get_every_figure(capsys):
    lines = JsonLines()
    for done in range(0, 100 * MIB + 1, MIB):
        lines.progress(at(done, connections=4, verified=done // 2))
    lines.progress(at(100 * MIB, connections=4, verified=100 * MIB))
    lines.note("odd \x1b name")
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert set(events[0]) == {
        "event", "filename", "phase", "done_bytes", "total_bytes", "verified_bytes",
        "connections", "bytes_per_s", "eta_s",
    }  # fmt: skip
    assert (events[0]["done_bytes"], events[0]["connections"]) == (0, 4)
    assert events[-2]["verified_bytes"] == events[-2]["total_bytes"]
    assert events[-1] == {"event": "note", "text": "odd \x1b name"}
