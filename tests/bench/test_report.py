"""The document holds everything and can be read again."""

import json
from pathlib import Path

import pytest

from mlm.bench.load import Load, Measured, Run
from mlm.bench.report import Report, read_runs
from mlm.bench.summary import summarise
from mlm.errors import NotFoundError, UsageError

RUNS = (
    Run("short", 0, 0, None, 12.5, (3.25, 4.0), 20.0, 250.0, 31, 0, 3, "length", "bypass"),
    Run("long", 1, 2, error="stream_cut"),
)


def write(path: Path) -> Path:
    measured = Measured(RUNS, wall_s=1.5)
    Report(
        machine={"fingerprint": "abc"},
        model="tiny",
        server="http://127.0.0.1:8000",
        load=Load(users=2),
        measured=measured,
        summary=summarise(measured),
        skipped={"medium": "too long"},
    ).write(path)
    return path


def test_the_document_has_the_fields_that_scripts_rely_on(tmp_path: Path):
    document = json.loads(write(tmp_path / "b.json").read_text())
    assert document["config"]["users"] == 2
    assert document["machine"] == {"fingerprint": "abc"}
    assert document["model"]["id"] == "tiny"
    assert len(document["runs"]) == 2
    summary = document["summary"]
    assert set(summary) >= {
        "ttft_ms", "itl_ms", "e2e_ms", "decode_tps", "prefill_tps", "total_tps", "rating"
    }  # fmt: skip
    assert summary["ttft_ms"] == {"p50": 12.5, "p95": 12.5, "p99": 12.5}
    assert [prompt["prompt"] for prompt in summary["prompts"]] == ["short", "long"]


def test_runs_are_read_as_they_were_written(tmp_path: Path):
    assert [run.e2e_ms for run in read_runs(write(tmp_path / "b.json"))] == [20.0, None]


def test_fields_of_a_later_version_are_passed_over(tmp_path: Path):
    path = write(tmp_path / "b.json")
    document = json.loads(path.read_text())
    document["runs"][0]["energy_j"] = 7
    path.write_text(json.dumps(document))
    assert read_runs(path)[0].ttft_ms == 12.5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": "mlm.list/1", "runs": []}',
        '{"schema": "mlm.bench/1", "runs": 3}',
        '{"schema": "mlm.bench/1", "runs": [{"prompt": "short"}]}',
        "[" * 100_000,
    ],
)
def test_another_kind_of_file_is_named_as_such(tmp_path: Path, text: str):
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="was not written by") as caught:
        read_runs(path)
    assert caught.value.remedy == "mlm bench REF -o before.json"  # not over that file


def test_a_figure_that_is_a_word_is_refused(tmp_path: Path):
    path = write(tmp_path / "b.json")
    path.write_text(path.read_text().replace("12.5", '"fast"'))
    with pytest.raises(UsageError):
        read_runs(path)


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path):
    with pytest.raises(NotFoundError):
        read_runs(tmp_path / "none.json")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot write"):
        write(tmp_path / "no" / "such" / "folder.json")
