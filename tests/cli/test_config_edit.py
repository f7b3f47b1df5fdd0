"""``mlm config edit``: whatever the editor does, no text is lost and no broken config is kept."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import gguf_files as g
from fakes.processes import wait_until

from mlm.errors import ExitCode
from mlm.manifest.seal import seal
from mlm.planning.config_file import format_config, read_config
from mlm.planning.config_versions import list_versions

pytestmark = pytest.mark.usefixtures("warm_home")
Editor = Callable[[str], None]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return g.llama().write(tmp_path / "small.gguf")


@pytest.fixture
def config(mlm, home: Path, model: Path) -> Path:
    mlm("config", "generate", model, "--ctx", "256", "--parallel", "2")
    return home / "config" / "small.yaml"


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
    """Have a script be the editor: it gets the ``file`` and its ``text``."""

    def use(code: str) -> None:
        script = tmp_path / "the editor.py"
        head = (
            "import os, sys, pathlib\nfile = pathlib.Path(sys.argv[-1])\ntext = file.read_text()\n"
        )
        script.write_text(head + code)
        monkeypatch.setenv("EDITOR", f"'{sys.executable}' '{script}' --wait")

    return use


def put(old: str, new: str) -> str:
    return f"file.write_text(text.replace({old!r}, {new!r}))"


def draft_of(config: Path) -> Path:
    return config.parent / "drafts" / config.name


def test_what_is_saved_is_kept_and_what_follows_is_said(mlm, config: Path, model, editor: Editor):
    before = config.read_text()
    editor(put("n_parallel: 2", "n_parallel: 1"))
    result = mlm("config", "edit", model)
    assert (result.exit_code, result.stdout) == (0, f"wrote {config}\n")
    assert "fits" in result.stderr
    assert "cpu needs" in result.stderr
    assert read_config(config).n_parallel == 1
    assert [version.path.read_text() for version in list_versions(config)] == [before]
    assert [*draft_of(config).parent.iterdir()] == []


def test_as_a_document(mlm, config: Path, model: Path, editor: Editor):
    editor(put("n_parallel: 2", "n_parallel: 1"))
    document = mlm("config", "edit", model, "--json").json
    assert (document["schema"], document["changed"]) == ("mlm.config/1", True)
    assert (document["n_parallel"], document["verdict"]) == (1, "fits")
    assert mlm("config", "edit", model, "--json").json["changed"] is False


def test_a_config_that_does_not_fit_is_kept_and_that_is_said(mlm, config, model, editor: Editor):
    editor(put("n_ctx: 512", "n_ctx: 2000000000"))
    result = mlm("config", "edit", model)
    assert result.exit_code == 0
    assert "does not fit" in result.stderr
    assert read_config(config).n_ctx == 2_000_000_000


def test_a_model_without_a_config_gets_one_when_something_is_changed(
    mlm, home: Path, model: Path, editor: Editor
):
    editor("")
    assert mlm("config", "edit", model).stdout == "nothing changed\n"
    path = home / "config" / "small.yaml"
    assert not path.exists()
    editor(put("n_batch: 2048", "n_batch: 1024"))
    assert mlm("config", "edit", model).exit_code == 0
    assert read_config(path).n_batch == 1024


def test_a_mistake_is_named_and_the_work_goes_on_later(mlm, config: Path, model, editor: Editor):
    before = config.read_text()
    editor(put("n_parallel: 2", "n_parallel: two"))
    result = mlm("config", "edit", model)
    assert result.exit_code == ExitCode.USAGE
    assert re.search(r"small\.yaml:\d+:1: n_parallel is 'two', not a whole number", result.stderr)
    assert "goes on where you stopped" in result.stderr
    assert config.read_text() == before
    assert "n_parallel: two" in draft_of(config).read_text()
    editor(put("n_parallel: two", "n_parallel: 1"))
    result = mlm("config", "edit", model)
    assert f"going on with what was left in {draft_of(config)}" in result.stderr
    assert read_config(config).n_parallel == 1
    assert not draft_of(config).exists()


def test_what_was_left_can_be_thrown_away(mlm, config: Path, model: Path, editor: Editor):
    editor(put("n_parallel: 2", "n_parallel: two"))
    mlm("config", "edit", model)
    editor("")
    assert mlm("config", "edit", model, "--discard").stdout == "nothing changed\n"
    assert not draft_of(config).exists()


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("file.write_text('n_ctx: [1, 2')", r"small\.yaml:\d+"),
        ("file.write_bytes(b'n_ctx: \\xff\\xfe')", "half a character"),
        ("file.write_text(text + 'warp: 9')", "there is no setting 'warp'"),
        ("file.write_text('x' * 2_000_000)", "longer than"),
        (put("n_ubatch: 512", "n_ubatch: 9999") + "; sys.exit(3)", "ended with 3"),
        ("file.write_text('half'); os.kill(os.getpid(), 9)", "ended by SIGKILL"),
    ],
)
def test_no_text_is_lost(mlm, config: Path, model: Path, editor: Editor, code: str, why: str):
    before = config.read_text()
    editor(code)
    result = mlm("config", "edit", model)
    assert result.exit_code == ExitCode.USAGE
    assert re.search(why, result.stderr)
    assert f"hint: mlm config edit {model} goes on where you stopped" in result.stderr
    assert config.read_text() == before
    assert draft_of(config).stat().st_size > 0
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "code",
    ["file.write_text('')", "file.unlink()", "sys.exit(1)", "os.kill(os.getpid(), 15)"],
)
def test_an_editor_that_saves_nothing_leaves_everything_as_it_was(
    mlm, config: Path, model: Path, editor: Editor, code: str
):
    before = config.read_text()
    editor(code)
    assert mlm("config", "edit", model).exit_code == ExitCode.USAGE
    assert config.read_text() == before
    assert not draft_of(config).exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("no-such-editor", "cannot start the editor no-such-editor"),
        ("'unbalanced", "EDITOR makes no sense"),
        ("/", "cannot start the editor /"),
    ],
)
def test_a_missing_editor_is_named(mlm, config, model, monkeypatch, words: str, why: str):
    monkeypatch.setenv("EDITOR", words)
    result = mlm("config", "edit", model)
    assert result.exit_code == ExitCode.USAGE
    assert why in result.stderr
    assert "hint: " in result.stderr
    assert mlm("config", "edit", model, "--json").json["error"]["code"] == "editor_failed"


def test_visual_goes_before_editor(mlm, config: Path, model, monkeypatch, editor: Editor):
    editor(put("n_parallel: 2", "n_parallel: 1"))
    monkeypatch.setenv("VISUAL", os.environ["EDITOR"])
    monkeypatch.setenv("EDITOR", "no-such-editor")
    assert mlm("config", "edit", model).exit_code == 0


def test_two_edits_at_once_are_refused(mlm, config: Path, model: Path, editor: Editor):
    # The editor of the first is the second edit, with `true` for an editor.
    editor(
        "import subprocess\n"
        "code = subprocess.run([sys.executable, '-m', 'mlm', 'config', 'edit', "
        f"{str(model)!r}], env={{**os.environ, 'EDITOR': 'true'}}).returncode\n"
        "file.write_text(text.replace('n_parallel: 2', f'n_parallel: {code}'))"
    )
    assert mlm("config", "edit", model).exit_code == 0
    assert read_config(config).n_parallel == ExitCode.CONFLICT


def test_a_config_that_changed_meanwhile_is_not_written_over(mlm, config, model, editor: Editor):
    other = config.read_text().replace("n_batch: 2048", "n_batch: 600")
    config.with_name("other").write_text(other)
    editor(
        put("n_parallel: 2", "n_parallel: 1")
        + f"\nos.replace({str(config.with_name('other'))!r}, {str(config)!r})"
    )
    result = mlm("config", "edit", model)
    assert result.exit_code == ExitCode.CONFLICT
    assert f"kept in {draft_of(config)}" in result.stderr
    assert config.read_text() == other
    editor("")
    assert mlm("config", "edit", model).exit_code == 0  # seen, and meant
    assert read_config(config).n_parallel == 1
    assert list_versions(config)[0].path.read_text() == other


def test_a_broken_config_can_be_repaired(mlm, config: Path, model: Path, editor: Editor):
    good = config.read_text()
    config.write_text(good.replace("n_parallel: 2", "n_parallel: two"))
    editor("")
    assert mlm("config", "edit", model).exit_code == ExitCode.USAGE
    editor(put("n_parallel: two", "n_parallel: 2"))
    assert mlm("config", "edit", model).exit_code == 0
    assert config.read_text() == good


def test_a_config_that_mlm_sync_wrote_is_better_changed_in_its_manifest(
    mlm, config: Path, model: Path, editor: Editor
):
    config.write_text(seal(format_config(read_config(config), "small"), "0" * 64))
    editor(put("n_parallel: 2", "n_parallel: 1"))
    result = mlm("config", "edit", model)
    assert result.exit_code == 0
    assert "mlm sync wrote this config" in result.stderr


def test_a_home_that_cannot_be_written_is_said_before_the_editor_starts(
    mlm, config: Path, model: Path, editor: Editor, tmp_path: Path
):
    (config.parent / "drafts").write_text("in the way")
    editor(f"pathlib.Path({str(tmp_path / 'started')!r}).touch()")
    result = mlm("config", "edit", model)
    assert result.exit_code == ExitCode.USAGE
    assert "cannot write" in result.stderr
    assert not (tmp_path / "started").exists()


def test_at_a_terminal_one_is_asked_whether_to_go_on(config: Path, model: Path, editor: Editor):
    editor(
        "wrong = 'n_parallel: two' in text\n"
        "file.write_text(text.replace('two' if wrong else 'n_parallel: 2', "
        "'1' if wrong else 'n_parallel: two'))"
    )
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mlm", "config", "edit", str(model)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""

    def asked() -> bool:
        nonlocal seen
        seen += os.read(ours, 1024)
        return b"Edit it again? [Y/n]" in seen

    wait_until(asked)
    os.write(ours, b"\n")
    assert process.wait(20) == 0
    os.close(ours)
    assert b"n_parallel is 'two'" in seen
    assert read_config(config).n_parallel == 1
