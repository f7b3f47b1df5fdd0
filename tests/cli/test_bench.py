"""``mlm bench`` measures, reports, compares and judges."""

import json
from pathlib import Path

import pytest
from fakes.openai_server import OpenAIServer

from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home")


def test_a_server_is_measured_and_rated(mlm, openai_server: OpenAIServer):
    result = mlm("bench", openai_server.url, "--users", "2", "--rounds", "2")
    assert result.exit_code == ExitCode.OK
    assert "tiny, 2 at once, 2 rounds of 64 tokens" in result.stdout
    assert "rating " in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert len(openai_server.asked) == 1 + 3 + 2 * 2 * 3 + 1  # at last a long one


def test_the_document_has_all_that_was_measured(mlm, openai_server, tmp_path: Path):
    file = tmp_path / "bench.json"
    result = mlm("bench", openai_server.url, "--rounds", "2", "-o", file, "--json")
    document = result.json
    assert document["schema"] == "mlm.bench/1"
    assert document["model"] == {"id": "tiny", "server": openai_server.url}
    assert document["machine"]["cpu"]["logical_cores"] >= 1
    assert document["config"]["rounds"] == 2
    assert [run["prompt"] for run in document["runs"]] == ["short", "medium", "long"] * 2
    assert document["summary"]["rating"] in "ABCDE"
    assert json.loads(file.read_text())["runs"] == document["runs"]


def test_the_asked_for_model_is_measured(mlm, openai_server):
    openai_server.models = ["tiny", "small"]
    mlm("bench", openai_server.url, "--model", "small", "--rounds", "1")
    assert {asked.body["model"] for asked in openai_server.asked[1:]} == {"small"}


def test_the_servers_key_is_read_from_a_file(mlm, openai_server, tmp_path: Path):
    key = tmp_path / "key"
    key.write_text("sk-secret\n")
    mlm("bench", openai_server.url, "--rounds", "1", "--api-key-file", key)
    keys = {asked.headers["Authorization"] for asked in openai_server.asked}
    assert keys == {"Bearer sk-secret"}


@pytest.fixture
def before(mlm, openai_server, tmp_path: Path) -> Path:
    file = tmp_path / "before.json"
    assert mlm("bench", openai_server.url, "-o", file).exit_code == ExitCode.OK
    return file


def sped_up(file: Path, factor: float) -> None:
    """Pretend that an earlier bench was that much faster than it was."""
    document = json.loads(file.read_text())
    for run in document["runs"]:
        run["ttft_ms"] /= factor
        run["e2e_ms"] /= factor
        run["decode_tps"] *= factor
    file.write_text(json.dumps(document))


def test_two_benches_are_compared(mlm, openai_server, before: Path):
    sped_up(before, 1000)
    result = mlm("bench", openai_server.url, "--compare", before)
    assert result.exit_code == ExitCode.OK
    assert "SINCE before.json" in result.stdout
    assert "% slower" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_gate_fails_what_became_slower(mlm, openai_server, before: Path):
    sped_up(before, 1000)
    result = mlm("bench", openai_server.url, "--compare", before, "--gate", "10")
    assert result.exit_code == ExitCode.GATE_FAILED
    assert "rating" in result.stdout
    assert "error: slower than before: ttft_ms by" in result.stderr


def test_with_json_a_failed_gate_is_still_one_document(mlm, openai_server, before: Path):
    sped_up(before, 1000)
    result = mlm("bench", openai_server.url, "--compare", before, "--gate", "10", "--json")
    assert result.exit_code == ExitCode.GATE_FAILED
    assert result.json["comparison"]["passed"] is False
    assert {change["metric"] for change in result.json["comparison"]["changes"]} == {
        "ttft_ms",
        "decode_tps",
        "e2e_ms",
    }


def test_the_gate_passes_what_became_faster(mlm, openai_server, before: Path):
    sped_up(before, 0.001)
    result = mlm("bench", openai_server.url, "--compare", before, "--gate", "0", "--json")
    assert result.exit_code == ExitCode.OK
    assert result.json["comparison"]["passed"] is True


def test_failed_requests_are_told(mlm, openai_server):
    openai_server.fails_after(3, "Hel")
    result = mlm("bench", openai_server.url, "--rounds", "1")
    assert "rating E" in result.stdout
    assert "warning: 3 requests failed" in result.stderr


def test_answers_from_a_cache_are_told(mlm, openai_server):
    openai_server.cache = "hit"
    result = mlm("bench", openai_server.url, "--rounds", "1")
    assert "a cache answered 3 requests" in result.stderr


def test_a_prompt_that_does_not_fit_is_left_out_with_a_word(mlm, openai_server):
    openai_server.n_ctx_bytes = 3000
    result = mlm("bench", openai_server.url, "--rounds", "1", "--json")
    assert list(result.json["skipped"]) == ["long"]
    assert "the long prompt is left out" in result.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--gate", "10"], ExitCode.USAGE),
        (["--compare", "none.json"], ExitCode.NOT_FOUND),
        (["--model", "huge"], ExitCode.NOT_FOUND),
        (["--users", "0"], ExitCode.USAGE),
        (["--ctx", "512"], ExitCode.USAGE),
        (["--api-key-file", "none"], ExitCode.NOT_FOUND),
        (["-o", "no/such/folder/b.json"], ExitCode.USAGE),
    ],
)
def test_bad_input_has_its_exit_code_and_costs_no_measurement(mlm, openai_server, words, code):
    result = mlm("bench", openai_server.url, *words)
    assert result.exit_code == code
    assert result.stderr.startswith("error: ")
    assert not any(asked.body for asked in openai_server.asked)


def test_a_server_that_is_not_there_is_a_network_error(mlm):
    result = mlm("bench", "http://127.0.0.1:9", "--json")
    assert result.exit_code == ExitCode.NETWORK
    assert result.json["error"]["code"] == "network"


def test_the_demo_model_is_measured_for_real(mlm):
    assert mlm("download", "mlm-demo").exit_code == ExitCode.OK
    words = ("--rounds", "1", "--max-tokens", "8", "--threads", "1")
    document = mlm("bench", "mlm-demo", *words, "--json").json
    assert {run["error"] for run in document["runs"]} == {None}
    assert {run["completion_tokens"] for run in document["runs"]} == {8}
    assert {run["cache"] for run in document["runs"]} <= {"miss", "bypass"}
    assert document["summary"]["prefill_tps"] > 0
    assert document["config"]["overrides"] == {"n_threads": 1}
