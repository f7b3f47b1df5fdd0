"""The log of a server in the background is begun anew when it is long; others' files are theirs."""

import subprocess
import sys
from pathlib import Path

PRINTER = """
import sys, time
from pathlib import Path
from mlm.cli._log_limit import limited_log
log, most = Path(sys.argv[1]), 10_000
with limited_log(log, most, every_s=0.01):
    for number in range(20_000):
        print(f"line {number}", file=sys.stderr, flush=True)
        if number % 500 == 0:
            time.sleep(0.03)
    print("the end", flush=True)
"""


def print_into(printed: Path, log: Path) -> None:
    with printed.open("wb") as stream:
        command = [sys.executable, "-c", PRINTER, str(log)]
        subprocess.run(command, stdout=stream, stderr=stream, check=True, timeout=60)


def test_a_long_log_is_begun_anew_and_what_it_held_stays_once(tmp_path: Path):
    log = tmp_path / "serve-1.log"
    print_into(log, log)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["serve-1.log", "serve-1.log.1"]
    older, newer = (tmp_path / "serve-1.log.1").read_text(), log.read_text()
    # The very end may have been moved away, too.
    assert (older + newer).endswith("line 19999\nthe end\n")
    lines = (older + newer).splitlines()[:-1]
    first = int(lines[0].split()[1])
    assert lines == [f"line {number}" for number in range(first, 20_000)], "a line is missing"
    assert first > 0 and len(older) + len(newer) < 150_000


def test_a_file_that_somebody_else_named_is_left_alone(tmp_path: Path):
    mine = tmp_path / "mine.txt"
    print_into(mine, tmp_path / "serve-1.log")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert len(mine.read_text().splitlines()) == 20_001
