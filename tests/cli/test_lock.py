"""``mlm lock`` writes down which bytes a manifest comes to, and moves only when it is told to."""

from importlib.metadata import version

import pytest
from fakes.hub import FakeHub, File
from fakes.hub.tiny import NAME, REPO, TINY, model_bytes

from mlm.errors import ExitCode

REF = f"{REPO}:Q4_K_M"
pytestmark = pytest.mark.usefixtures("warm_home")


@pytest.fixture
def commit(hub: FakeHub) -> str:
    return hub.add(REPO, File(NAME, TINY))


def test_a_model_is_locked_to_its_commit_and_bytes(mlm, hub, commit, write):
    lock = write(f"models: [{{model: '{REF}', config: {{n_parallel: 2}}}}]")
    document = mlm("lock", "--json").json
    (model,) = document["models"]
    assert (document["schema"], document["written"]) == ("mlm.lock/1", True)
    assert (model["status"], model["commit"], model["quant"]) == ("added", commit, "Q4_K_M")
    assert model["files"] == [
        {"filename": NAME, "size_bytes": len(TINY), "sha256": File(NAME, TINY).sha256}
    ]
    assert document["engine"] == version("llama-cpp-python")
    assert f'commit: "{commit}"' in lock.read_text()
    assert hub.asked("cdn") == []


def test_shards_are_locked_one_by_one_in_order(mlm, hub, write):
    names = [f"m-Q8_0-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    hub.add("org/split", *(File(name, model_bytes(4000, n)) for n, name in enumerate(names)))
    write("models: [{model: 'org/split:Q8_0'}]")
    (model,) = mlm("lock", "--json").json["models"]
    assert [file["filename"] for file in model["files"]] == names


def test_a_projector_is_locked_with_its_model(mlm, hub, write):
    hub.add(REPO, File(NAME, TINY), File("mmproj-F16.gguf", model_bytes(4000)))
    write(f"models: [{{model: '{REF}'}}]")
    (model,) = mlm("lock", "--json").json["models"]
    assert [file["filename"] for file in model["files"]] == [NAME, "mmproj-F16.gguf"]


def test_what_moves_upstream_moves_the_lock_only_when_asked(mlm, hub, commit, write):
    lock = write(f"models: [{{model: '{REF}'}}]")
    mlm("lock")
    before, asked = lock.read_bytes(), len(hub.requests)
    newer = hub.add(REPO, File(NAME, model_bytes(5000, 9)))
    assert mlm("lock", "--json").json["written"] is False
    assert (lock.read_bytes(), len(hub.requests)) == (before, asked)

    assert mlm("lock", "--upgrade", "--json").json["models"][0]["status"] == "changed"
    assert newer in lock.read_text()


def test_one_model_can_be_upgraded_alone(mlm, hub, commit, write):
    old = hub.add("org/other", File("o.Q4_0.gguf", TINY))
    lock = write(f"models: [{{model: '{REF}'}}, {{model: 'org/other:Q4_0'}}]")
    mlm("lock")
    newer = hub.add(REPO, File(NAME, model_bytes(5000, 9)))
    hub.add("org/other", File("o.Q4_0.gguf", model_bytes(5000, 9)))
    assert mlm("lock", "--upgrade", REF).exit_code == ExitCode.OK
    assert newer in lock.read_text()
    assert old in lock.read_text()


def test_only_what_changed_in_the_manifest_is_looked_up(mlm, hub, commit, write):
    write(f"models: [{{model: '{REF}'}}]")
    mlm("lock")
    hub.add("org/other", File("o.Q4_0.gguf", TINY))
    hub.requests.clear()
    write(f"models: [{{model: '{REF}', config: {{n_batch: 64}}}}, {{model: 'org/other:Q4_0'}}]")
    statuses = {m["model"]: m["status"] for m in mlm("lock", "--json").json["models"]}
    assert statuses == {REF: "changed", "org/other:Q4_0": "added"}
    assert {request.path.split("?")[0] for request in hub.requests} == {
        "/api/models/org/other/revision/main"
    }


def test_what_is_wanted_no_more_leaves_the_lock_without_a_network(mlm, hub, commit, write):
    hub.add("org/other", File("o.Q4_0.gguf", TINY))
    lock = write(f"models: [{{model: '{REF}'}}, {{model: 'org/other:Q4_0'}}]")
    mlm("lock")
    write(f"models: [{{model: '{REF}'}}]")
    document = mlm("--offline", "lock", "--json").json
    assert document["removed"] == ["org/other:Q4_0"]
    assert "org/other" not in lock.read_text()


def test_a_revision_is_kept_and_a_new_one_looked_up(mlm, hub, commit, write):
    tagged = hub.add(REPO, File(NAME, model_bytes(5000, 9)), ref="v2")
    lock = write(f"models: [{{model: '{REF}'}}]")
    mlm("lock")
    write(f"models: [{{model: '{REF}', revision: v2}}]")
    mlm("lock")
    assert f'commit: "{tagged}"' in lock.read_text()


def test_the_bundled_model_and_one_of_the_hub_share_a_file(mlm, hub, commit, write):
    lock = write(f"models: [{{model: mlm-demo}}, {{model: '{REF}'}}]")
    assert mlm("lock").exit_code == ExitCode.OK
    assert "mlm/mlm-demo-GGUF" in lock.read_text()
    assert "mlm/mlm-demo-GGUF" not in str(hub.requests)


def test_a_failure_names_the_line_and_leaves_the_lock_alone(mlm, hub, commit, write):
    lock = write(f"models: [{{model: '{REF}'}}]")
    mlm("lock")
    before = lock.read_bytes()
    write(f"models:\n- model: '{REF}'\n- model: org/gone:Q4_0")
    result = mlm("lock")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "mlm.yaml:3:3: " in result.stderr
    assert lock.read_bytes() == before


def test_a_file_without_a_checksum_cannot_be_locked(mlm, hub, write):
    hub.add(REPO, File(NAME, TINY, lfs=False))
    lock = write(f"models: [{{model: '{REF}'}}]")
    assert mlm("lock").exit_code == ExitCode.INTEGRITY
    assert not lock.exists()


def test_an_unknown_model_of_the_catalog_is_not_found(mlm, write):
    write("models: [{model: qwen3-8c}]")
    result = mlm("lock")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "qwen3-8b" in result.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [((REF,), ExitCode.USAGE), (("--upgrade", "org/else:Q4_0"), ExitCode.NOT_FOUND)],
)
def test_a_model_is_named_to_be_upgraded_and_is_in_the_manifest(
    mlm, hub, commit, write, words, code
):
    write(f"models: [{{model: '{REF}'}}]")
    assert mlm("lock", *words).exit_code == code


def test_the_engine_stays_as_locked_while_it_will_do(mlm, hub, commit, write):
    lock = write(f"engine: llama-cpp-python==0.3.1\nmodels: [{{model: '{REF}'}}]")
    mlm("lock")
    assert 'engine: "llama-cpp-python==0.3.1"' in lock.read_text()
    write(f"engine: llama-cpp-python>=0.3\nmodels: [{{model: '{REF}'}}]")
    assert mlm("lock", "--json").json["engine"] == "0.3.1"
    assert mlm("lock", "--upgrade", "--json").json["engine"] == version("llama-cpp-python")


def test_an_engine_that_is_not_here_and_not_named_stays_open(mlm, hub, commit, write):
    write(f"engine: llama-cpp-python>=99\nmodels: [{{model: '{REF}'}}]")
    result = mlm("lock")
    assert result.exit_code == ExitCode.OK
    assert "no release of llama-cpp-python is locked" in result.stderr


def test_without_a_manifest_it_says_how_to_begin(mlm, write):
    result = mlm("lock")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "mlm lock --init" in result.stderr


def test_a_machine_that_works_becomes_a_manifest_without_a_network(mlm, hub, commit, write):
    lock = write("")
    (lock.parent / "mlm.yaml").unlink()
    mlm("download", REF, "mlm-demo")
    hub.add(REPO, File(NAME, model_bytes(5000, 9)))
    result = mlm("--offline", "lock", "--init", "--json")
    assert [model["model"] for model in result.json["models"]] == ["mlm-demo:Q8_0", REF]
    assert commit in lock.read_text()
    assert mlm("lock", "--init").exit_code == ExitCode.CONFLICT


def test_an_empty_machine_is_no_beginning(mlm, write, tmp_path):
    result = mlm("lock", "--init", "--file", tmp_path / "new.yaml")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "printf" in result.stderr
    assert not (tmp_path / "new.yaml").exists()


@pytest.mark.parametrize("name", [".", "/", "..", "", "mlm.lock", "no/such/mlm.yaml"])
def test_a_name_that_cannot_be_a_manifest_is_told(mlm, write, name):
    for words in (("lock",), ("lock", "--init"), ("sync",), ("sync", "--frozen"), ("outdated",)):
        code = mlm(*words, "--file", name).exit_code
        assert code in (ExitCode.USAGE, ExitCode.NOT_FOUND, ExitCode.CONFLICT), (words, name)


def test_a_folder_that_cannot_be_written_is_a_usage_error(mlm, hub, commit, write):
    lock = write(f"models: [{{model: '{REF}'}}]")
    lock.mkdir()
    assert mlm("lock").exit_code in (ExitCode.USAGE, ExitCode.NOT_FOUND)
