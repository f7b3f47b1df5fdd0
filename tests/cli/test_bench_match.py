"""``mlm bench --against`` lets two servers take turns and prints ratios."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from fakes.mlm_serve import DEMO_MODEL
from fakes.openai_server import OpenAIServer, serving_openai

from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home")

QUICK = ("--scenario", "distinct-4")


@pytest.fixture
def other() -> Iterator[OpenAIServer]:
    with serving_openai() as server:
        server.models = ["small", "large"]
        yield server


def test_two_servers_take_turns_and_ratios_come_out(mlm, openai_server, other):
    words = (*QUICK, "--scenario", "chat", "--rounds", "6")
    result = mlm("bench", openai_server.url, "--against", other.url, *words)
    assert result.exit_code == ExitCode.OK
    assert f"A: tiny at {openai_server.url}" in result.stdout
    assert f"B: small at {other.url}" in result.stdout
    assert "distinct-4  total_tps" in result.stdout
    assert "chat        ttft_ms" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert result.stderr == ""


def test_the_document_has_every_ratio_round_and_request(mlm, openai_server, other, tmp_path):
    file = tmp_path / "match.json"
    words = (*QUICK, "--rounds", "2", "--json", "-o", file)
    document = mlm("bench", openai_server.url, "--against", other.url, *words).json
    assert document["schema"] == "mlm.bench/1"
    assert json.loads(file.read_text())["against"] == document["against"]
    against = document["against"]
    assert document["model"] == {"id": "tiny", "server": openai_server.url}
    assert against["model"] == {"id": "small", "server": other.url}
    (ratio,) = against["ratios"]
    assert (ratio["scenario"], ratio["figure"]) == ("distinct-4", "total_tps")
    assert len(ratio["rounds"]) == against["rounds"] == 2
    assert ratio["low"] is None  # two rounds tell nothing about chance
    assert [(play["side"], play["round"]) for play in against["plays"]] == [
        ("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)
    ]  # fmt: skip
    assert len(document["runs"]) == len(against["runs"]) == 8
    assert document["summary"]["failed"] == 0
    assert against["cpu_us_per_token"]["a"] > 0
    assert against["remarks"] == []


def test_the_model_and_the_key_of_the_other_server_can_be_said(mlm, openai_server, other, tmp_path):
    key = tmp_path / "key"
    key.write_text("sk-other\n")
    words = ("--against-model", "large", "--against-api-key-file", key, *QUICK, "--rounds", "1")
    mlm("bench", openai_server.url, "--against", other.url, *words)
    assert {asked.body["model"] for asked in other.asked if asked.body} == {"large"}
    assert {asked.headers["Authorization"] for asked in other.asked} == {"Bearer sk-other"}
    assert all("Authorization" not in asked.headers for asked in openai_server.asked)


def test_the_gate_fails_who_is_slower_for_certain(mlm, openai_server, other):
    other.says(*["word"] * 300)  # in about the time in which A says two
    words = (*QUICK, "--rounds", "6", "--gate", "5", "--json")
    result = mlm("bench", openai_server.url, "--against", other.url, *words)
    assert result.exit_code == ExitCode.GATE_FAILED
    assert result.json["against"]["passed"] is False
    result = mlm("bench", other.url, "--against", openai_server.url, *words)
    assert result.exit_code == ExitCode.OK


def test_answers_may_be_shorter_where_their_length_is_not_the_point(mlm, openai_server, other):
    words = ("--scenario", "shared-prefix", "--rounds", "1", "--max-tokens", "24", "--json")
    document = mlm("bench", openai_server.url, "--against", other.url, *words).json
    lengths = {asked.body["max_tokens"] for asked in other.asked if asked.body}
    assert 24 in lengths and 48 not in lengths
    assert document["config"]["max_tokens"] == 24
    (scenario,) = document["against"]["scenarios"]
    assert "24 new tokens" in scenario["meaning"]


def test_a_server_that_fails_half_of_the_requests_is_told_without_a_traceback(
    mlm, openai_server, other
):
    other.breaks_off_after("Hel")
    other.takes_turns("well", "as told")
    result = mlm("bench", openai_server.url, "--against", other.url, *QUICK, "--rounds", "2")
    assert result.exit_code == ExitCode.NETWORK
    assert "warning: B failed 6 of 12 requests" in result.stderr
    assert "error: the server cut the answer off" in result.stderr
    assert "Traceback" not in result.stderr


def test_what_could_be_compared_is_shown_beside_what_failed(mlm, openai_server, other):
    other.breaks_off_after("Hel")
    other.takes_turns(*["well"] * 13, "as told", again=False)  # warming up, three rounds of four
    words = (*QUICK, "--scenario", "chat", "--rounds", "2", "--json")
    result = mlm("bench", openai_server.url, "--against", other.url, *words)
    assert result.exit_code == ExitCode.NETWORK
    assert [ratio["scenario"] for ratio in result.json["against"]["ratios"]] == ["distinct-4"]
    assert result.json["against"]["plays"][-1]["error"].startswith("the server cut the answer off")


def test_a_scenario_that_does_not_fit_is_left_out_with_a_word(mlm, openai_server, other):
    other.n_ctx_bytes = 3000
    words = (*QUICK, "--scenario", "shared-prefix", "--rounds", "1", "--json")
    result = mlm("bench", openai_server.url, "--against", other.url, *words)
    assert result.exit_code == ExitCode.OK
    assert list(result.json["skipped"]) == ["shared-prefix"]
    assert "warning: shared-prefix is left out" in result.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--against", "{other}", "--scenario", "chess"], ExitCode.USAGE),
        (["--against", "{other}", "--users", "2"], ExitCode.USAGE),
        (["--against", "{other}", "--compare", "before.json"], ExitCode.USAGE),
        (["--against", "{other}", "--rounds", "0"], ExitCode.USAGE),
        (["--against", "qwen3-8b"], ExitCode.USAGE),
        (["--against", "http://:x"], ExitCode.USAGE),
        (["--against", "http://127.0.0.1:9"], ExitCode.NETWORK),
        (["--against", "{other}", "--against-model", "huge"], ExitCode.NOT_FOUND),
        (["--against", "{other}", "--against-api-key-file", "none"], ExitCode.NOT_FOUND),
        (["--scenario", "chat"], ExitCode.USAGE),
        (["--against-model", "small"], ExitCode.USAGE),
    ],
)
def test_bad_input_has_its_exit_code_and_costs_no_measurement(
    mlm, openai_server, other, words, code
):
    result = mlm("bench", openai_server.url, *(word.format(other=other.url) for word in words))
    assert result.exit_code == code
    assert result.stderr.startswith("error: ")
    assert "hint: " in result.stderr
    assert not any(asked.body for asked in (*openai_server.asked, *other.asked))


def test_ctrl_c_ends_it_and_both_servers_are_left_alone(openai_server, other):
    other.hesitates_after("Once upon")
    other.takes_turns("well", "as told", again=False)  # it is warm, then
    words = ["bench", openai_server.url, "--against", other.url, *QUICK]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlm", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert other.hesitates.wait(60)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (ExitCode.INTERRUPTED, b"")
    assert b"Traceback" not in stderr
    assert other.client_left.wait(10)


def test_a_model_of_ones_own_is_served_for_it(mlm, openai_server):
    openai_server.says(*["word"] * 48, reason="length")
    words = ("--against", openai_server.url, *QUICK, "--rounds", "1", "--threads", "1", "--json")
    document = mlm("bench", DEMO_MODEL, *words).json
    assert document["model"]["id"] == "mlm-demo"
    assert document["config"]["overrides"] == {"n_threads": 1}
    assert document["against"]["ratios"][0]["a"] > 0
