"""``mlm verify``."""

import json
from pathlib import Path

import pytest
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY, model_bytes

from mlm.errors import ExitCode


@pytest.fixture
def installed(mlm, hub: FakeHub) -> Path:
    """The blob of an installed model; a second model stands beside it."""
    hub.add(REPO, File(NAME, TINY), File("tiny.Q8_0.gguf", model_bytes(5000)))
    mlm("download", f"{REPO}:Q8_0")
    (file,) = mlm("download", f"{REPO}:Q4_K_M", "--json").json["files"]
    return Path(file["path"]).resolve()


def spoil(blob: Path) -> None:
    blob.chmod(0o644)
    content = bytearray(blob.read_bytes())
    content[1000] ^= 1
    blob.write_bytes(content)


def test_sound_models_pass(mlm, installed: Path):
    done = mlm("verify", "--json")
    assert done.exit_code == ExitCode.OK
    assert done.json["schema"] == "mlm.verify/1"
    files = {file["filename"]: file for file in done.json["files"]}
    assert set(files) == {NAME, "tiny.Q8_0.gguf"}
    assert files[NAME]["ok"] is True
    assert files[NAME]["expected"] == files[NAME]["actual"] == installed.name


def test_one_flipped_bit_is_found_and_both_checksums_are_named(mlm, installed: Path):
    spoil(installed)
    done = mlm("verify", f"{REPO}:Q4_K_M", "--json")
    assert done.exit_code == ExitCode.INTEGRITY
    (file,) = done.json["files"]
    assert file["ok"] is False
    assert file["expected"] == installed.name != file["actual"]
    shown = mlm("verify")
    assert shown.exit_code == ExitCode.INTEGRITY
    assert "CORRUPT" in shown.stdout and "--repair" in shown.stderr


def test_what_is_corrupt_is_replaced_by_the_next_download(mlm, installed: Path):
    spoil(installed)
    mlm("verify")
    assert mlm("download", f"{REPO}:Q4_K_M").exit_code == ExitCode.OK
    assert mlm("verify").exit_code == ExitCode.OK


def test_a_truncated_file_is_corrupt(mlm, installed: Path):
    installed.chmod(0o644)
    installed.write_bytes(TINY[:1000])
    assert mlm("verify", REPO).exit_code == ExitCode.INTEGRITY


def test_an_unknown_model_is_not_found(mlm, installed: Path):
    failed = mlm("verify", "nosuch")
    assert failed.exit_code == ExitCode.NOT_FOUND
    assert "nosuch is not in the store" in failed.stderr


def test_an_empty_store_is_in_order(mlm):
    assert mlm("verify", "--json").json["files"] == []


def test_the_table_fits_the_screen(mlm, installed: Path):
    spoil(installed)
    assert max(map(len, mlm("verify").stdout.splitlines())) <= 80


def test_progress_can_be_read_by_programs(mlm, installed: Path):
    lines = mlm("verify", REPO, "--progress", "json").stderr.splitlines()
    assert json.loads(lines[0])["phase"] == "checking"


def test_what_has_rotted_is_repaired(mlm, installed: Path):
    spoil(installed)
    done = mlm("verify", "--repair", "--json")
    assert done.exit_code == ExitCode.OK
    repaired = {file["filename"]: file["repaired_bytes"] for file in done.json["files"]}
    assert repaired == {NAME: len(TINY), "tiny.Q8_0.gguf": None}
    assert installed.read_bytes() == TINY
    spoil(installed)
    assert "repaired" in mlm("verify", "--repair").stdout


def test_what_cannot_be_repaired_is_said_with_the_reason(mlm, installed: Path, hub: FakeHub):
    spoil(installed)
    hub.repos.clear()
    done = mlm("verify", "--repair", "--json")
    assert done.exit_code == ExitCode.NOT_FOUND
    (error,) = done.json["errors"]
    assert error["ref"] == f"{REPO}:Q4_K_M" and "no repository" in error["message"]


def test_a_quick_look_reads_only_what_was_touched(mlm, installed: Path):
    looked = mlm("verify", "--quick", "--json")
    assert [file["hashed"] for file in looked.json["files"]] == [False, False]
    assert "unchanged" in mlm("verify", "--quick").stdout
    spoil(installed)
    assert mlm("verify", "--quick").exit_code == ExitCode.INTEGRITY
