"""``mlm show``."""

import pytest
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY, model_bytes

from mlm.errors import ExitCode


@pytest.fixture
def installed(mlm, hub: FakeHub) -> File:
    file = File(NAME, TINY)
    hub.add(REPO, file)
    mlm("download", f"{REPO}:Q4_K_M")
    return file


def test_everything_known_is_shown(mlm, installed: File):
    shown = mlm("show", f"{REPO}:Q4_K_M")
    assert shown.exit_code == ExitCode.OK
    for fact in (REPO, "Q4_K_M", installed.sha256[:40], "293 KiB", "last used"):
        assert fact in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80


def test_the_document_has_the_model_and_its_files(mlm, installed: File):
    document = mlm("show", REPO, "--json").json
    assert document["schema"] == "mlm.show/1"
    assert document["model"]["sha256"] == installed.sha256
    assert [file["filename"] for file in document["files"]] == [NAME]


def test_shards_are_all_there(mlm, hub: FakeHub):
    hub.add(REPO, *(File(f"m-Q8_0-0000{n}-of-00002.gguf", model_bytes(9000, n)) for n in (1, 2)))
    mlm("download", f"{REPO}:Q8_0")
    assert len(mlm("show", REPO, "--json").json["files"]) == 2


def test_what_is_not_here_is_said_with_the_way_to_get_it(mlm, installed: File):
    failed = mlm("show", "org/tiny-GGUG:Q4_K_M")
    assert failed.exit_code == ExitCode.NOT_FOUND
    assert f"near it: {REPO}:Q4_K_M" in failed.stderr
    assert "mlm download" in failed.stderr
