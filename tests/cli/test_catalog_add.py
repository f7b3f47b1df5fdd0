"""``mlm catalog add`` and ``rm``: models of the hub that the catalog does not know."""

from math import prod
from pathlib import Path

import pytest
from fakes.gguf_files import STRING, GGUFFile, llama, model, vocabulary
from fakes.hub import FakeHub, File
from fakes.tiny_projector import write_tiny_projector

from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home")

REPO = "org/House-1B-GGUF"
WHOLE = llama().encode()
PARAMS = sum(prod(tensor.shape) for tensor in llama().tensors)


@pytest.fixture
def stocked(hub: FakeHub, tmp_path: Path) -> FakeHub:
    """A repository with two quantizations and a projector."""
    eyes = write_tiny_projector(tmp_path / "mmproj.gguf", "gemma3")
    hub.add(
        REPO,
        File("House-1B-Q4_K_M.gguf", WHOLE),
        File("House-1B-Q8_0.gguf", WHOLE + b"\0" * 64),
        File("mmproj-F16.gguf", eyes.read_bytes()),
        File("README.md", b"# hi", lfs=False),
    )
    hub.repos[REPO].info = {
        "tags": ["gguf", "license:apache-2.0", "base_model:quantized:org/House-1B"],
        "gated": False,
    }
    return hub


def test_an_entry_is_made_of_the_listing_and_the_header(mlm, stocked, home: Path):
    result = mlm("catalog", "add", REPO, "--json")

    assert result.exit_code == ExitCode.OK
    made = result.json["model"]
    commit = stocked.repos[REPO].refs["main"]
    assert made["model_id"] == "house-1b"
    assert (made["license"], made["gated"], made["base_repo"]) == (
        "Apache-2.0", False, "org/House-1B"
    )  # fmt: skip
    assert made["params"] == made["params_active"] == PARAMS
    assert made["architecture"]["n_layer"] == 2
    assert made["use_cases"] == ["chat", "vision"]
    assert made["quality"] == {}
    assert [quant["quant"] for quant in made["quants"]] == ["Q4_K_M", "Q8_0"]
    assert made["quants"][0]["size_bytes"] == len(WHOLE)
    assert made["quants"][0]["sha256"] == File("a", WHOLE).sha256
    assert made["quants"][0]["revision"] == commit
    assert made["mmproj"][0]["filename"] == "mmproj-F16.gguf"
    assert made["source"] == f"hub {REPO}@{commit}"
    assert (home / "catalog" / "house-1b.yaml").exists()


def test_what_was_added_can_be_shown_validated_planned_and_downloaded(mlm, stocked):
    assert mlm("catalog", "add", REPO).exit_code == ExitCode.OK
    stocked.requests.clear()
    assert mlm("catalog", "show", "house-1b", "--json").json["model"]["params"] == PARAMS
    planned = mlm("plan", "house-1b:Q8_0", "--json").json
    assert planned["grade"] == "computed"  # both headers were read
    assert planned["mmproj"]["loaded"] is True
    [row] = mlm("download", "house-1b:Q8_0", "--json").json["files"][:1]
    assert row["commit"] == stocked.repos[REPO].refs["main"]
    recommended = mlm("recommend", "--json", "--top", "1")
    reasons = {r["model"]: r["reason"] for r in recommended.json["rejected"]}
    assert "no published figures say how good it is" in reasons["house-1b"]
    assert mlm("catalog", "validate").exit_code == ExitCode.OK


def test_it_can_be_called_and_used_as_one_likes(mlm, stocked):
    words = ("--id", "mine", "--use", "code", "--use", "chat", "--json")
    made = mlm("catalog", "add", REPO, *words).json["model"]
    assert (made["model_id"], made["use_cases"]) == ("mine", ["code", "chat"])


def test_a_name_that_is_taken_is_a_conflict(mlm, stocked):
    assert mlm("catalog", "add", REPO, "--id", "qwen3-8b").exit_code == ExitCode.CONFLICT
    assert mlm("catalog", "add", REPO).exit_code == ExitCode.OK
    result = mlm("catalog", "add", REPO)
    assert result.exit_code == ExitCode.CONFLICT
    assert "mlm catalog rm house-1b" in result.stderr


def test_what_was_added_can_be_taken_out_and_only_that(mlm, stocked, home: Path):
    mlm("catalog", "add", REPO)
    assert mlm("catalog", "rm", "House-1B", "--json").json["model"] == "house-1b"
    assert mlm("catalog", "show", "house-1b").exit_code == ExitCode.NOT_FOUND
    assert mlm("catalog", "rm", "house-1b").exit_code == ExitCode.NOT_FOUND
    assert mlm("catalog", "rm", "qwen3-8b").exit_code == ExitCode.NOT_FOUND


def test_a_file_written_by_hand_is_left_alone(mlm, stocked, home: Path):
    mlm("catalog", "add", REPO)
    written = home / "catalog" / "house-1b.yaml"
    by_hand = written.read_text(encoding="utf-8").partition("\n")[2]
    written.write_text(f"# my own\n{by_hand}", encoding="utf-8")
    result = mlm("catalog", "rm", "house-1b")
    assert result.exit_code == ExitCode.USAGE
    assert f"hint: edit {written}" in result.stderr
    assert written.exists()


def shards(*names: str) -> list[File]:
    return [File(name, WHOLE) for name in names]


def test_a_split_model_keeps_the_checksum_of_each_shard(mlm, hub: FakeHub):
    made = llama()
    made.set("split.count", 4, 2).set("split.no", 4, 0)
    second = GGUFFile().set("split.count", 4, 2).set("split.no", 4, 1)
    files = [File("m-Q8_0-00001-of-00002.gguf", made.encode()),
             File("m-Q8_0-00002-of-00002.gguf", second.encode())]  # fmt: skip
    hub.add(REPO, *files)
    [quant] = mlm("catalog", "add", REPO, "--json").json["model"]["quants"]
    assert quant["n_files"] == 2 and quant["sha256"] is None
    assert [shard["sha256"] for shard in quant["shards"]] == [file.sha256 for file in files]
    assert quant["size_bytes"] == sum(file.size for file in files)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "holds no GGUF file"),
        ([File("model.safetensors", b"x")], "holds no GGUF file"),
        ([File("mmproj-F16.gguf", b"GGUF")], "holds only a projector"),
        (shards("m-Q8_0-00001-of-00002.gguf"), "no whole GGUF file"),
        (shards("model.gguf"), "no whole GGUF file whose name says its quantization"),
        (shards(".hidden/m-Q8_0.gguf"), "no whole GGUF file"),
        (shards(f"m-Q8_{'0' * 100}.gguf"), "no whole GGUF file"),
    ],
)
def test_a_repository_without_a_model_is_said_to_be_one(mlm, hub, files, words: str):
    hub.add(REPO, *files)
    result = mlm("catalog", "add", REPO)
    assert result.exit_code == ExitCode.NOT_FOUND
    assert words in result.stderr


@pytest.mark.parametrize(
    "typed", ["x", "org/repo:Q4_K_M", "https://a/b", "../../etc", "", "a/b\x1b[2J", "./a.gguf"]
)
def test_what_is_no_repository_is_refused(mlm, typed: str):
    assert mlm("catalog", "add", typed).exit_code == ExitCode.USAGE


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "\x1b[2J", "a" * 200])
def test_what_is_no_name_is_refused(mlm, stocked, name: str):
    assert mlm("catalog", "add", REPO, "--id", name).exit_code == ExitCode.USAGE


def test_a_hub_with_thousands_of_files_is_no_model(mlm, hub: FakeHub):
    hub.add(REPO, File("m-Q8_0.gguf", WHOLE))
    hub.repos[REPO].info = {
        "siblings": [
            {"rfilename": f"m-Q8_{n}.gguf", "size": 10, "lfs": {"sha256": f"{n:064x}", "size": 10}}
            for n in range(10_000)
        ]
    }
    result = mlm("catalog", "add", REPO)
    assert result.exit_code == ExitCode.USAGE
    assert "10000 kinds" in result.stderr


def test_hostile_names_and_tags_do_not_reach_the_file(mlm, hub: FakeHub, home: Path):
    evil = llama().set("general.name", STRING, "\x1b]0;owned\x07Fine\u202e name\nmodels: []")
    hub.add(REPO, File("m-Q8_0.gguf", evil.encode()))
    hub.repos[REPO].info = {
        "tags": ["license:mit\nmodels: []", "base_model:../../etc", "license:a b", 3, "license:x_y"]
    }
    made = mlm("catalog", "add", REPO, "--json").json["model"]
    assert made["name"] == "]0;ownedFine namemodels: []"
    assert (made["license"], made["base_repo"]) == ("LicenseRef-x-y", None)
    assert mlm("catalog", "show", made["model_id"]).exit_code == ExitCode.OK


def test_a_header_that_is_none_writes_nothing(mlm, hub: FakeHub, home: Path):
    hub.add(REPO, File("m-Q8_0.gguf", b"<html>" + b"x" * 4096))
    assert mlm("catalog", "add", REPO).exit_code == ExitCode.INTEGRITY
    assert not (home / "catalog").exists()


def test_an_encoder_is_for_embeddings(mlm, hub: FakeHub):
    bert = vocabulary(model("bert"), ["a", "b"])
    bert.tensors = llama().tensors
    hub.add("org/Bert-GGUF", File("bert-F16.gguf", bert.encode()))
    assert mlm("catalog", "add", "org/Bert-GGUF", "--json").json["model"]["use_cases"] == [
        "embedding"
    ]


def test_the_network_the_licence_and_the_disk_are_told_apart(mlm, stocked: FakeHub, home: Path):
    assert mlm("--offline", "catalog", "add", REPO).exit_code == ExitCode.NETWORK
    (home / "catalog").write_text("a file where the folder should be")
    assert mlm("catalog", "add", REPO).exit_code == ExitCode.USAGE
    stocked.repos[REPO].gated = True
    stocked.repos[REPO].token = "hf_other"
    assert mlm("catalog", "add", REPO).exit_code == ExitCode.AUTH
