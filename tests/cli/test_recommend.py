"""``mlm recommend``: advice for people, the same as a document for scripts."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlm.catalog.files import shipped_dir

pytestmark = pytest.mark.usefixtures("warm_home")


def widest(text: str) -> int:
    return max(len(line) for line in text.splitlines())


def test_the_table_fits_eighty_columns_and_explains_the_best_rows(mlm):
    result = mlm("recommend", "--hardware", "RTX 4090")
    assert result.exit_code == 0
    assert widest(result.stdout) <= 80
    assert result.stdout.startswith("   MODEL")
    assert "chat quality" in result.stdout
    assert "cuda0 needs" in result.stdout
    assert result.stdout.count("tokens/s (") == 3
    assert "mlm download" in result.stderr


def test_this_machine_is_the_usual_one(mlm):
    result = mlm("recommend", "--json", "--top", "1")
    assert result.exit_code in (0, 4)  # whatever this machine is good for
    assert result.json["hardware"]["cpu"]["logical_cores"] >= 1


def test_the_document_has_what_scripts_rely_on(mlm):
    result = mlm("recommend", "--json", "--hardware", "16GB laptop", "--users", "2")
    document = result.json
    assert document["schema"] == "mlm.recommend/1"
    assert document["use"] == "chat"
    assert document["hardware"]["memory"]["total"] == 16 * 1024**3
    assert len(document["recommendations"]) == 5
    best = document["recommendations"][0]
    assert set(best) >= {
        "rank", "model", "quant", "repo_id", "revision", "filename", "size_bytes", "size_exact",
        "sha256", "memory_bytes", "available_bytes", "grade", "decode_tps", "prefill_tps",
        "n_ctx_slot", "score", "score_parts", "reasons",
    }  # fmt: skip
    assert best["rank"] == 1
    assert best["memory_bytes"] < best["available_bytes"]
    assert best["decode_tps"]["low"] < best["decode_tps"]["mid"] < best["decode_tps"]["high"]
    assert all(isinstance(r["size_bytes"], int) for r in document["recommendations"])
    demo = next(r for r in document["rejected"] if r["model"] == "mlm-demo")
    assert demo["quant"] is None
    assert all(rejection["reason"] for rejection in document["rejected"])


def test_the_same_question_gets_the_same_answer(mlm):
    words = ("recommend", "--json", "--hardware", "RTX 3060", "--use", "code")
    assert mlm(*words).stdout == mlm(*words).stdout


def test_what_was_asked_is_obeyed(mlm):
    document = mlm(
        "recommend", "--json", "--hardware", "RTX 4090", "--use", "code", "--ctx", "32768",
        "--min-tps", "60", "--top", "2",
    ).json  # fmt: skip
    assert len(document["recommendations"]) == 2
    for found in document["recommendations"]:
        assert found["n_ctx_slot"] == 32_768
        assert found["decode_tps"]["mid"] >= 60


def test_memory_can_be_pretended(mlm):
    large = mlm("recommend", "--json", "--hardware", "64GB desktop").json
    small = mlm("recommend", "--json", "--hardware", "64GB desktop", "--memory", "4GiB").json
    assert small["hardware"]["memory"]["usable"] == 4 * 1024**3
    assert all(r["memory_bytes"] <= 4 * 1024**3 for r in small["recommendations"])
    assert any(r["memory_bytes"] > 4 * 1024**3 for r in large["recommendations"])


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_when_nothing_fits_the_exit_code_says_so(mlm, words: tuple[str, ...]):
    result = mlm("recommend", "--hardware", "16GB laptop", "--memory", "150MB", *words)
    assert result.exit_code == 4
    if words:
        assert result.json["recommendations"] == []
    else:
        assert "143 MiB can be had" in result.stderr  # what the smallest model lacks
        assert "hint: ask for less" in result.stderr


def test_models_that_see_are_recommended_for_pictures(mlm):
    result = mlm("recommend", "--hardware", "RTX 4090", "--use", "vision", "--json")
    best = result.json["recommendations"][0]
    shown = mlm("catalog", "show", best["model"], "--json").json["model"]
    assert shown["mmproj"] and "vision" in shown["use_cases"]


def test_a_purpose_that_no_model_serves(mlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copy(shipped_dir() / "tinyllama.yaml", tmp_path)
    monkeypatch.setattr("mlm.catalog.load.shipped_dir", lambda: tmp_path)
    result = mlm("recommend", "--hardware", "RTX 4090", "--use", "vision")
    assert result.exit_code == 4
    assert "none is made for it" in result.stderr
    assert "hint: mlm recommend --use chat" in result.stderr


def test_a_context_that_no_model_has_is_told_from_a_lack_of_memory(mlm):
    result = mlm("recommend", "--hardware", "RTX 4090", "--ctx", "999999999999")
    assert result.exit_code == 4
    assert "the longest context is that of" in result.stderr


def test_when_nothing_fits_the_smallest_model_says_what_it_lacks(mlm):
    result = mlm("recommend", "--hardware", "16GB laptop", "--memory", "50MB")
    assert result.exit_code == 4
    assert re.search(r"its weights alone take [\d.]+ MiB of 47.7 MiB", result.stderr)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("nomic-embed-text-v1.5",), "not made for chat"),
        (("mlm-demo",), "comes with mlm"),
        (("llama-2-7b-chat", "--ctx", "100000"), "trained for 4096 tokens"),
    ],
)
def test_explain_invents_no_score_for_a_model_that_is_not_ranked(mlm, words, why: str):
    result = mlm("recommend", "--hardware", "RTX 4090", "--explain", *words)
    assert result.exit_code == 4
    assert why in result.stdout
    assert "score" not in result.stdout.replace("published scores", "")


def test_explain_shows_the_arithmetic(mlm):
    result = mlm("recommend", "--hardware", "RTX 4090", "--explain", "qwen3-8b:Q4_K_M")
    assert result.exit_code == 0
    assert widest(result.stdout) <= 80
    for words in ("qwen3-8b:Q4_K_M", "quality", "quant. loss", "fit", "speed", "score"):
        assert words in result.stdout
    assert "KV cache" in result.stdout


def test_the_arithmetic_of_a_score_can_be_redone_by_hand(mlm):
    text = mlm("recommend", "--hardware", "RTX 3060, 32GB", "--explain", "qwen3-8b:Q4_K_M").stdout
    figures = dict(re.findall(r"^(quality|quant\. loss|fit|speed|score) +([\d.]+)", text, re.M))
    quality, loss, fit, speed, score = map(float, figures.values())
    assert quality * (1 - loss) * fit * speed == pytest.approx(score, abs=0.06)
    assert "1 - exp(-0.0282 x min(sqrt(8 / 8.19" in text
    assert "share of cuda0 in use" in text
    assert "best here: " in text


def test_explain_says_why_a_quantization_was_not_chosen(mlm):
    text = mlm("recommend", "--hardware", "16GB laptop", "--explain", "qwen3-8b").stdout
    assert "not chosen: with four bits it fits too" in text
    assert re.search(r"not chosen: \w+ scores [\d.]+, this [\d.]+", text)


def test_only_licences_that_were_wished_for(mlm):
    document = mlm("recommend", "--json", "--hardware", "RTX 4090", "--license", "permissive").json
    assert {found["license"] for found in document["recommendations"]} <= {"Apache-2.0", "MIT"}
    result = mlm("recommend", "--hardware", "RTX 4090", "--license", "GPL-3.0")
    assert result.exit_code == 4
    assert "none under GPL-3.0" in result.stderr
    assert "Apache-2.0" in result.stderr


def test_neither_hashes_nor_time_change_the_answer(warm_home):
    command = [sys.executable, "-m", "mlm", "recommend", "--json", "--hardware", "RTX 3060"]
    answers = {
        subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1


def test_explain_compares_all_quantizations_of_a_model(mlm):
    document = mlm(
        "recommend", "--json", "--hardware", "RTX 4090", "--memory", "2GiB", "--explain",
        "llama-3.1-70b",
    ).json  # fmt: skip
    assert document["schema"] == "mlm.recommend/1"
    assert document["rejected"]
    result = mlm("recommend", "--hardware", "16GB laptop", "--explain", "llama-3.1-70b")
    assert result.exit_code == 4
    assert "is out: its weights alone" in result.stdout
    ranked = mlm("recommend", "--json", "--hardware", "RTX 4090", "--explain", "qwen3-8b").json
    scores = [found["score"] for found in ranked["recommendations"]]
    assert scores == sorted(scores, reverse=True)
    assert ranked["recommendations"][0]["devices"][0]["device"] == "cpu"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--explain", "no-such-model"), 3, "no model is called"),
        (("--explain", "org/repo:Q4_K_M"), 2, "not in the catalog"),
        (("--hardware", "Abacus 9000"), 3, "no machine is called"),
        (("--memory", "lots"), 2, "is not a size"),
        (("--memory", "0"), 2, "leaves no memory"),
        (("--use", "cooking"), 2, "cooking"),
        (("--users", "0"), 2, "0"),
        (("--min-tps", "nan"), 2, "nan is not a number"),
        (("--min-tps", "inf"), 2, "inf is not a number"),
    ],
)
def test_bad_input_gets_a_clear_answer(mlm, words: tuple[str, ...], code: int, message: str):
    result = mlm("recommend", *words)
    assert result.exit_code == code
    assert message in result.stderr
    assert "hint:" in result.stderr


def test_users_own_models_take_part(mlm, home: Path):
    home.joinpath("catalog").mkdir(parents=True)
    shipped = Path(__file__).parents[2] / "catalog" / "mlm-demo.yaml"
    text = shipped.read_text(encoding="utf-8").replace("mlm-demo", "mine")
    text = text.replace("bundled: true", "quality: {chat: 100}")
    (home / "catalog" / "mine.yaml").write_text(text, encoding="utf-8")
    document = mlm("recommend", "--json", "--hardware", "16GB laptop").json
    assert document["recommendations"][0]["model"] == "mine"
