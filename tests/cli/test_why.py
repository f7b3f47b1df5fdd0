"""``mlm why``: why a model is as fast as it is, and why this quantization."""

import os
import time
from pathlib import Path

import pytest
from fakes import gguf_files as g
from fakes.announced import announce
from fakes.mlm_serve import DEMO_MODEL, mlm_serve
from fakes.observations import observation
from fakes.typed import parses

from mlm.cli._why_evidence import find_measured
from mlm.client import Client
from mlm.errors import ExitCode
from mlm.hardware.detect import survey_hardware
from mlm.stats.ledger import Ledger

pytestmark = pytest.mark.usefixtures("warm_home")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return g.llama().write(tmp_path / "small model.gguf")


def named(document: dict, name: str) -> dict:
    (found,) = [finding for finding in document["findings"] if finding["name"] == name]
    return found


def test_a_local_file_that_never_ran(mlm, model: Path):
    document = mlm("why", model, "--json").json
    assert document["schema"] == "mlm.why/1"
    assert (document["installed"], document["server"], document["quant"]) == (True, None, None)
    assert (document["model"], document["placement"]) == ("small model", "cpu")
    first = document["findings"][0]
    assert first["name"] == "speed" and "Too small for predictions" in first["what"]
    assert first["fix"] is None
    assert all(parses(f["fix"]) for f in document["findings"] if (f["fix"] or "").startswith("mlm"))


def test_what_was_measured_is_compared_with_what_was_predicted(mlm, home: Path, model: Path):
    ledger = Ledger(home / "ledger.sqlite")
    machine = survey_hardware().fingerprint
    for tps, quantity in ((900.0, "decode_tps"), (21.0, "decode_tps"), (300.0, "prefill_tps")):
        changes = {"at": time.time(), "machine": machine, "model": "small model"}
        ledger.note(observation(**changes, actual=tps, quantity=quantity))
    ledger.note(observation(at=time.time(), machine="another", model="small model", actual=7.0))
    ledger.close()
    document = mlm("why", model, "--json").json
    assert document["measured"]["decode_tps"] == pytest.approx(460.5)
    assert document["measured"]["prefill_tps"] == 300.0
    assert (document["measured"]["n"], document["measured"]["n_past"]) == (2, 300)
    assert "460 tokens/s measured (2 times" in named(document, "speed")["evidence"]


def test_a_model_is_known_by_any_name_that_it_was_served_under():
    runs = [
        observation(model="qwen3-8b", actual=1.0),
        observation(model="qwen3-8b:q4_k_m", actual=2.0),
        observation(model="qwen3-8b:Q4_K_M", actual=3.0),
        observation(model="qwen3-8b", quant="Q8_0", actual=50.0),
        observation(model="another", actual=70.0),
    ]
    measured = find_measured(runs, {"qwen3-8b:Q4_K_M"})
    assert measured is not None
    assert (measured.n, measured.decode_tps) == (3, 2.0)


def test_the_text_fits_eighty_columns_but_for_commands(mlm, model: Path):
    result = mlm("why", model)
    assert result.exit_code == ExitCode.OK
    lines = [line for line in result.stdout.splitlines()[1:] if "fix: " not in line]
    assert max(map(len, lines)) <= 80
    assert "Why this quantization" in lines


def test_a_model_that_is_not_here_gets_the_questions_of_quantization(mlm, hub):
    document = mlm("why", "qwen3-8b:Q4_K_M", "--json").json
    assert document["installed"] is False
    assert named(document, "speed")["fix"] == "mlm download qwen3-8b:Q4_K_M"
    assert {f["name"] for f in document["findings"]} <= {"speed", "bandwidth", "long_context"}
    quant = document["quant"]
    assert (quant["model"], quant["quant"]) == ("qwen3-8b", "Q4_K_M")
    assert quant["reasons"][0].startswith("Q4_K_M: ")
    sizes = [row["size_bytes"] for row in quant["alternatives"]]
    assert sizes == sorted(sizes, reverse=True)
    assert quant["recommended"] in {row["quant"] for row in quant["alternatives"]}


def test_a_bigger_one_that_does_not_fit_says_why(mlm, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mlm.cli._machine.planned_machine", lambda _: tiny_machine())
    document = mlm("--offline", "why", "qwen3-8b:Q4_K_M", "--json").json
    (bigger,) = [words for words in document["quant"]["reasons"] if "next bigger" in words]
    assert "does not run here" in bigger
    assert any(row["reason"] for row in document["quant"]["alternatives"])


def tiny_machine():
    from fakes.facts import machine

    return machine(6.3)


def test_an_unknown_model_is_not_found(mlm):
    assert mlm("--offline", "why", "no-such-model").exit_code == ExitCode.NOT_FOUND
    assert mlm("why", "./no-such-file.gguf").exit_code == ExitCode.NOT_FOUND


def test_a_file_that_is_no_model_is_refused(mlm, tmp_path: Path):
    (tmp_path / "junk.gguf").write_bytes(b"junk" * 99)
    assert mlm("why", tmp_path / "junk.gguf").exit_code == ExitCode.INTEGRITY


def test_a_name_cannot_command_the_terminal(mlm, tmp_path: Path):
    evil = g.llama().write(tmp_path / "a\x1b]0;owned\x07\nfix: rm -rf ~.gguf")
    for words in ((), ("--json",)):
        assert "\x1b" not in mlm("why", evil, *words).stdout
    assert "\nfix: rm" not in mlm("why", evil).stdout


def test_a_broken_ledger_and_a_broken_engine_are_no_obstacle(
    mlm, home: Path, model: Path, monkeypatch
):
    (home / "ledger.sqlite").write_bytes(b"junk" * 5000)
    monkeypatch.setitem(__import__("sys").modules, "llama_cpp", None)
    assert mlm("why", model).exit_code == ExitCode.OK


@pytest.mark.parametrize(
    ("lie", "believed"),
    [
        ({"config": {"x": 1, "n_threads": "many"}}, True),
        ({"active": "some"}, False),
        ({"pid": None}, False),
        ({"config": 7}, False),
        ({"memory_by_device": {"cpu": "all"}}, False),
    ],
)
def test_a_server_that_lies_and_hangs_up_is_no_obstacle(
    mlm, home: Path, model: Path, lie: dict[str, object], believed: bool
):
    resident = {"model": "small model", "state": "ready", "pid": os.getpid(), **lie}
    announce(home, models={"small model": str(model)}, resident=(resident,), url="http://[::1]:9")
    result = mlm("why", model, "--json")
    assert result.exit_code == ExitCode.OK
    assert result.json["server"] == ("http://[::1]:9" if believed else None)


def test_a_running_server_is_asked_for_its_config_and_its_answers(mlm, tmp_path: Path):
    with mlm_serve(
        tmp_path / "served", str(DEMO_MODEL), "--threads", "1", "--ctx", "300"
    ) as server:
        server.wait_for("loaded")
        with Client(server.url) as client:
            for _ in client.chat(
                [{"role": "user", "content": "What is mlm?"}], model="mlm-demo", max_tokens=8
            ):
                pass
        document = mlm("--home", server.home, "why", DEMO_MODEL, "--json").json
    assert document["server"] == server.url
    assert document["context"]["n_threads"] == 1
    assert document["context"]["n_ctx"] == 300 * document["context"]["n_seq_max"]
    assert document["measured"]["n"] == 1
    assert "in all answers of http" in named(document, "speed")["evidence"]
