"""``mlm outdated`` says what has changed upstream, and that is never a failure."""

import pytest
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY, model_bytes

from mlm.errors import ExitCode

REF = f"{REPO}:Q4_K_M"
OLD, NEW = File(NAME, TINY), File(NAME, model_bytes(5000, 9))
pytestmark = pytest.mark.usefixtures("warm_home")


@pytest.fixture
def locked(mlm, hub: FakeHub, write) -> str:
    """The commit that the model of ``mlm.yaml`` is locked to."""
    commit = hub.add(REPO, OLD)
    write(f"models: [{{model: '{REF}'}}]")
    mlm("lock")
    return commit


def test_nothing_new_is_current(mlm, locked):
    (model,) = mlm("outdated", "--json").json["models"]
    assert (model["status"], model["commit"], model["upstream_commit"]) == (
        "current",
        locked,
        locked,
    )


def test_a_replaced_file_is_told_with_both_checksums_and_sizes(mlm, hub, locked):
    newer = hub.add(REPO, NEW)
    (model,) = mlm("outdated", "--json").json["models"]
    assert (model["status"], model["upstream_commit"]) == ("replaced", newer)
    (file,) = model["files"]
    assert (file["sha256"], file["size_bytes"]) == (OLD.sha256, len(TINY))
    assert (file["upstream_sha256"], file["upstream_size_bytes"]) == (NEW.sha256, 5000)

    result = mlm("outdated")
    assert result.exit_code == ExitCode.OK
    for shown in (OLD.sha256[:12], NEW.sha256[:12], "293 KiB", "4.88 KiB"):
        assert shown in result.stdout
    assert f"mlm lock --upgrade {REF}, then mlm sync" in result.stderr


def test_a_new_commit_with_the_same_file_has_only_moved(mlm, hub, locked):
    hub.add(REPO, OLD, File("another.Q8_0.gguf", NEW.content))
    assert mlm("outdated", "--json").json["models"][0]["status"] == "moved"


def test_a_file_that_is_gone_is_told(mlm, hub, locked):
    hub.add(REPO, File("renamed.Q4_K_M.gguf", TINY))
    (model,) = mlm("outdated", "--json").json["models"]
    assert (model["status"], model["files"][0]["status"]) == ("replaced", "gone")


def test_a_repository_that_is_gone_is_news_too(mlm, hub, locked):
    hub.repos.clear()
    result = mlm("outdated", "--json")
    assert result.exit_code == ExitCode.OK
    (model,) = result.json["models"]
    assert model["status"] == "unavailable"
    assert "no repository" in model["why"]
    assert "no repository" in " ".join(mlm("outdated").stdout.split())


def test_a_hub_that_cannot_be_reached_is_a_failure(mlm, locked, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert mlm("outdated").exit_code == ExitCode.NETWORK


def test_each_repository_is_asked_once(mlm, hub, write):
    hub.add(REPO, OLD, File("t.Q8_0.gguf", NEW.content))
    write(f"models: [{{model: '{REF}'}}, {{model: '{REPO}:Q8_0'}}]")
    mlm("lock")
    hub.requests.clear()
    mlm("outdated")
    assert len(hub.requests) == 1


def test_a_tag_is_followed_rather_than_main(mlm, hub, write):
    tagged = hub.add(REPO, OLD, ref="v1")
    hub.add(REPO, NEW)
    write(f"models: [{{model: '{REF}', revision: v1}}]")
    mlm("lock")
    (model,) = mlm("outdated", "--json").json["models"]
    assert (model["status"], model["upstream_commit"]) == ("current", tagged)


def test_without_a_manifest_it_is_about_what_is_installed(mlm, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hub.add(REPO, OLD)
    mlm("download", REF, "mlm-demo")
    hub.add(REPO, NEW)
    result = mlm("outdated", "--json")
    assert {m["model"]: m["status"] for m in result.json["models"]} == {
        "mlm-demo:Q8_0": "current",
        REF: "replaced",
    }
    assert f"hint: mlm download {REF}" in result.stderr


def test_nothing_installed_is_no_failure(mlm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert mlm("outdated").stdout == "no models yet\n"


def test_a_manifest_that_was_never_locked_cannot_be_compared(mlm, write):
    write(f"models: [{{model: '{REF}'}}]")
    result = mlm("outdated")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "mlm lock" in result.stderr


def test_a_manifest_that_was_named_has_to_be_there(mlm, tmp_path):
    assert mlm("outdated", "--file", tmp_path / "no.yaml").exit_code == ExitCode.NOT_FOUND
