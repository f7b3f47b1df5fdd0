"""What a Tab offers: asked as the scripts of the shells ask, without the shells."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import gguf_files

from mlm.catalog.load import load_catalog
from mlm.catalog.names import catalog_names
from mlm.cli.app import COMMANDS
from mlm.completion.answer import answer_bash, answer_words
from mlm.completion.line import open_quote, split_line

SHELLS = ["bash", "zsh", "fish", "powershell"]


def complete(*words: str) -> list[str]:
    """Return what a shell is offered for the last of ``words``."""
    *finished, begun = words
    _, *offers = answer_words(list(finished), {"_MLM_WORD": begun})
    return [offer.split("\t")[0] for offer in offers]


def in_bash(line: str, **environ: str) -> list[str]:
    return answer_bash({"_MLM_LINE": line, **environ})


def import_model(mlm, folder: Path, name: str = "qwen-mine.gguf") -> None:
    (folder / name).write_bytes(gguf_files.llama().encode())
    assert mlm("import", folder / name).exit_code == 0


def test_a_tab_offers_the_commands_with_what_they_do():
    assert complete("") == [module.removesuffix("_") for module in COMMANDS]
    assert "ps\tList the running servers and the models they hold in memory" in answer_words([], {})


def test_a_tab_completes_what_was_begun():
    assert complete("comple") == ["completion"]
    assert complete("config", "ro") == ["rollback"]
    assert complete("--quiet", "config", "ro") == ["rollback"]
    assert complete("help", "config", "ro") == ["rollback"]


def test_a_tab_offers_options_that_were_not_used_yet():
    assert complete("stats", "--") == ["--since", "--by", "--json"] or "--by" in complete(
        "stats", "--"
    )
    assert "--by" not in complete("stats", "--by", "day", "--")
    assert "--json" in complete("stats", "")  # it takes nothing else
    assert complete("recommend", "--mem") == ["--memory"]


@pytest.mark.parametrize("words", [("recommend", "--use", ""), ("recommend", "--use=")])
def test_a_tab_offers_the_choices_of_an_option(words: tuple[str, ...]):
    start = words[-1]
    offered = complete(*words)
    assert offered == [start + use for use in ("chat", "code", "reasoning", "embedding", "vision")]


def test_after_two_dashes_there_are_no_options():
    assert complete("run", "x", "--", "--") == []


def test_files_and_folders_are_left_to_the_shell():
    assert answer_words(["bench", "x", "-o"], {"_MLM_WORD": "n"}) == ["files"]
    assert answer_words(["--home"], {"_MLM_WORD": ""}) == ["folders"]
    assert answer_words(["plan"], {"_MLM_WORD": "./mo"}) == ["files"]
    assert answer_words(["import"], {"_MLM_WORD": ""}) == ["files"]


def test_a_tab_offers_the_models_of_the_catalog_and_after_a_colon_their_quantizations():
    assert complete("plan", "qwen3-8") == ["qwen3-8b"]
    assert "qwen3-8b:Q4_K_M" in complete("download", "qwen3-8b:")
    assert complete("download", "qwen3-8b", "qwen3-8b:q4_k_m") == ["qwen3-8b:Q4_K_M"]
    assert complete("plan", "no-such") == []


def test_a_glance_at_the_catalog_sees_every_name_that_is_in_it(home: Path):
    entries = load_catalog(home / "catalog", home / "cache").entries
    there = {entry.model_id for entry in entries}
    there |= {f"{entry.model_id}:{q.quant}" for entry in entries for q in entry.quants}
    assert set(catalog_names(home / "catalog")) == there


def test_a_tab_offers_machines_to_plan_for():
    assert complete("recommend", "--hardware", "rtx-409") == [
        "rtx-4090", "rtx-4090-d", "rtx-4090-laptop",
    ]  # fmt: skip
    assert "16gb-laptop" in complete("hardware", "--hardware", "16")


def test_a_tab_offers_only_installed_models_where_others_would_not_do(mlm, tmp_path: Path):
    assert complete("run", "qwen") == []
    import_model(mlm, tmp_path)
    for command in ("run", "chat", "serve", "bench", "show", "verify", "rm"):
        assert complete(command, "qwen") == ["qwen-mine"]
    assert {"qwen-mine", "qwen3-8b"} <= set(complete("plan", "qwen"))
    mlm("rm", "qwen-mine", "--yes")
    assert complete("run", "qwen") == []


def test_another_home_has_other_models(mlm, tmp_path: Path, monkeypatch):
    import_model(mlm, tmp_path)
    assert complete("--home", str(tmp_path / "elsewhere"), "run", "qwen") == []


def test_a_tab_offers_the_names_of_keys(mlm):
    mlm("keys", "add", "alice")
    assert complete("keys", "revoke", "al") == ["alice"]


def test_a_tab_never_shows_what_could_command_the_terminal(mlm, tmp_path: Path):
    import_model(mlm, tmp_path, "evil\x1b[2J.gguf")
    assert complete("run", "evil") == []


@pytest.mark.parametrize("text", ["[", "models:\n- model_id: [\n", "\x00\xff"])
def test_a_broken_catalog_does_not_disturb_the_person_who_types(home: Path, text: str):
    home.joinpath("catalog").mkdir(parents=True)
    home.joinpath("catalog", "broken.yaml").write_bytes(text.encode("latin-1"))
    assert complete("plan", "qwen3-8") == ["qwen3-8b"]


def test_a_broken_index_does_not_disturb_the_person_who_types(mlm, home: Path):
    home.mkdir()
    home.joinpath("index.sqlite").write_bytes(b"no database" * 1000)
    assert complete("run", "qwen") == []
    assert home.joinpath("index.sqlite").read_bytes() == b"no database" * 1000


def test_bash_gets_only_what_comes_after_its_breaks():
    assert in_bash("mlm plan qwen3-8b:Q4_K_") == ["words", "Q4_K_M", "Q4_K_S", "Q4_K_L"] or (
        "Q4_K_M" in in_bash("mlm plan qwen3-8b:Q4_K_")
    )
    assert in_bash("mlm plan qwen3-8b:Q4_K_M", _MLM_BREAKS=" ") == ["words", "qwen3-8b:Q4_K_M"]
    assert in_bash("mlm recommend --use=cod") == ["words", "code"]


def test_bash_gets_names_with_blanks_as_one_word(mlm, tmp_path: Path):
    import_model(mlm, tmp_path, "my model.gguf")
    assert in_bash("mlm run my") == ["words", "my\\ model"]
    assert in_bash('mlm run "my') == ["words", "my model"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mlm", ["mlm"]),
        ("mlm ", ["mlm", ""]),
        ("mlm  plan   x", ["mlm", "plan", "x"]),
        ("mlm run 'a b' \"c d", ["mlm", "run", "a b", "c d"]),
        ("mlm run a\\ b", ["mlm", "run", "a b"]),
        ("mlm run '' x", ["mlm", "run", "", "x"]),
    ],
)
def test_a_line_is_split_as_bash_does(line: str, words: list[str]):
    assert split_line(line) == words


def test_an_open_quote_is_known():
    assert (open_quote('mlm run "a'), open_quote("mlm 'a' b"), open_quote("mlm a\\'")) == (
        '"', "", "",
    )  # fmt: skip


def test_the_command_answers_the_scripts_without_importing_what_takes_time():
    code = (
        "import sys; from mlm.__main__ import main; main();"
        "print([m for m in ('typer', 'rich', 'yaml', 'json', 'dataclasses') if m in sys.modules])"
    )
    environ = {**os.environ, "_MLM_COMPLETE": "zsh", "_MLM_WORD": "downl"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "words\ndownload\tDownload models and verify their checksums\n[]\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_there_is_a_script_for_every_shell(mlm, shell: str):
    result = mlm("completion", shell)
    assert result.exit_code == 0
    assert f"_MLM_COMPLETE{' ' if shell == 'powershell' else ''}" in result.stdout


@pytest.fixture
def user(tmp_path: Path, monkeypatch) -> Path:
    """The home of a user whose settings lie where they usually do."""
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    for name in ("XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "user"


@pytest.mark.parametrize(
    ("shell", "profile"),
    [
        ("bash", ".bashrc"),
        ("zsh", ".zshrc"),
        ("powershell", ".config/powershell/Microsoft.PowerShell_profile.ps1"),
    ],
)
def test_installing_adds_one_line_to_a_profile_and_nothing_the_second_time(
    mlm, user: Path, shell: str, profile: str
):
    user.mkdir()
    if shell != "powershell":
        (user / profile).write_text("alias x=y")
    assert mlm("completion", shell, "--install").exit_code == 0
    once = (user / profile).read_text()
    assert "completions/mlm." in once
    assert shell == "powershell" or once.startswith("alias x=y\n")
    again = mlm("completion", shell, "--install")
    assert (user / profile).read_text() == once
    assert again.stdout == "it is there already\n"


def test_installing_takes_the_shell_of_the_user(mlm, user: Path, monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert mlm("completion", "--install").exit_code == 0
    assert (user / ".config/fish/completions/mlm.fish").is_file()
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    refused = mlm("completion", "--install")
    assert refused.exit_code == 2
    assert "cannot teach the shell tcsh" in refused.stderr


def test_a_profile_that_cannot_be_written_is_called_so(mlm, user: Path):
    user.mkdir()
    (user / ".bashrc").mkdir()
    result = mlm("completion", "bash", "--install")
    assert result.exit_code == 2
    assert ".bashrc" in result.stderr
