"""``mlm search``: the catalog by words, and the hub where asked."""

import json

import pytest
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, TINY

from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home")


@pytest.fixture
def shelf(hub: FakeHub) -> FakeHub:
    """A hub with two repositories of GGUF files and one without."""
    hub.add("org/Qwen3-8B-GGUF", File(NAME, TINY))
    hub.add("fan/qwen3-tune-GGUF", File(NAME, TINY))
    hub.add("org/Qwen3-8B", File("model.safetensors", b"x"))
    hub.repos["org/Qwen3-8B"].info = {"tags": ["safetensors"]}
    hub.repos["org/Qwen3-8B-GGUF"].info = {
        "downloads": 1200, "likes": 5, "gated": "auto", "tags": ["gguf", "license:apache-2.0"],
    }  # fmt: skip
    return hub


def test_models_are_found_by_words_and_fit_eighty_columns(mlm):
    result = mlm("search", "qwen3", "coder")
    assert result.exit_code == ExitCode.OK
    lines = result.stdout.splitlines()
    assert lines[1].startswith("qwen3-coder-")
    assert max(len(line) for line in mlm("search", "qwen3").stdout.splitlines()) <= 80


def test_nothing_is_asked_of_the_hub_unless_wanted(mlm, shelf):
    result = mlm("search", "qwen3", "--json")
    assert result.json["hub"] == {"asked": False, "error": None, "repos": []}
    assert shelf.requests == []


def test_the_hub_adds_repositories_those_downloaded_most_first(mlm, shelf):
    document = mlm("search", "qwen3", "--hub", "--json").json
    assert [repo["repo_id"] for repo in document["hub"]["repos"]] == [
        "org/Qwen3-8B-GGUF", "fan/qwen3-tune-GGUF"
    ]  # fmt: skip
    assert document["hub"]["repos"][0] == {
        "repo_id": "org/Qwen3-8B-GGUF", "license": "apache-2.0", "gated": True,
        "downloads": 1200, "likes": 5, "installed": False,
    }  # fmt: skip
    (request,) = shelf.requests
    assert request.path == "/api/models?search=qwen3&filter=gguf&sort=downloads&limit=20"


def test_what_is_installed_is_marked(mlm, shelf):
    assert mlm("download", f"org/Qwen3-8B-GGUF/{NAME}").exit_code == ExitCode.OK
    result = mlm("search", "qwen3-8b", "--hub")
    row = next(line for line in result.stdout.splitlines() if line.startswith("org/"))
    assert "1,200" in row and "gated" in row
    repos = mlm("search", "qwen3-8b", "--hub", "--json").json["hub"]["repos"]
    assert [repo["installed"] for repo in repos] == [True]


def test_without_a_network_the_catalog_still_answers_and_says_so(mlm):
    result = mlm("--offline", "search", "qwen3-8b", "--hub")
    assert result.exit_code == ExitCode.OK
    assert "qwen3-8b" in result.stdout
    assert "the hub was not asked: mlm was told to stay offline" in result.stderr
    assert mlm("--offline", "search", "qwen3-8b", "--hub", "--json").json["hub"]["error"]


def test_a_model_that_only_the_hub_could_know_needs_the_network(mlm):
    result = mlm("--offline", "search", "unheardof", "--hub")
    assert result.exit_code == ExitCode.NETWORK


def test_a_word_that_is_nowhere_is_not_found_and_near_names_are_offered(mlm):
    result = mlm("search", "qwem3-8b")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "near it: qwen3-8b" in result.stderr
    assert "hint: mlm search qwen3-8b" in result.stderr
    assert "hint: mlm search --hub zzz" in mlm("search", "zzz").stderr


@pytest.mark.parametrize("text", ["", " ", "x" * 201, "a\x1b]0;b\x07", "a\nb"])
def test_what_is_no_search_is_refused(mlm, text: str):
    assert mlm("search", text).exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    "body",
    [b"{}", b"[3]", b"null", b"[{}]", b'[{"id": 3}]', b"<html>", b'[{"id": "a/b", "tags": 3}]'],
)
def test_garbage_from_the_hub_is_no_crash(mlm, shelf, body: bytes):
    shelf.breaks(where="api", body=body)
    result = mlm("search", "unheardof", "--hub")
    assert result.exit_code in (ExitCode.NETWORK, ExitCode.NOT_FOUND)
    assert "Traceback" not in result.stderr


def test_a_hostile_list_names_nothing_that_could_harm(mlm, shelf):
    repos = [
        {"id": name, "tags": ["license:\x1b[31mred", "gguf"], "downloads": -1, "likes": "many"}
        for name in ("../../etc", "a/b\x1b[2J", "no-slash", "a/" + "b" * 200, "good/one")
    ]
    shelf.breaks(where="api", body=json.dumps(repos * 2000).encode())
    found = mlm("search", "unheardof", "--hub", "--json").json["hub"]["repos"]
    assert {repo["repo_id"] for repo in found} == {"good/one"}
    assert len(found) == 20
    assert found[0]["license"] is None and found[0]["downloads"] is None
