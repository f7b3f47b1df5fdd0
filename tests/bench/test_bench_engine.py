"""The script beside llama-server knows what mlm should reach, and says at once what is missing."""

import subprocess
import sys

import bench_engine

from mlm.bench.scenarios import all_scenarios


def test_every_figure_has_a_target():
    figures = {(s.name, figure.name) for s in all_scenarios() for figure in s.figures}
    assert figures == set(bench_engine.TARGETS)


def test_a_llama_server_that_is_none_is_told_before_anything_starts(tmp_path):
    command = [sys.executable, bench_engine.__file__, str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "is not a program" in done.stderr
    assert done.stdout == ""
