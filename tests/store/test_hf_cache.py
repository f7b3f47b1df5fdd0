"""Our store is the Hugging Face cache: what they read and wrote there, and what we do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.hub import File
from fakes.hub.tiny import NAME, REPO, model_bytes
from stress.house import House, living_in

REF = f"{REPO}:Q4_K_M"
CONTENT = model_bytes(200_000)
PARTS = [f"big/big.Q8_0-0000{n}-of-00002.gguf" for n in (1, 2)]
BRANCH = "refs/pr/7"
# As transformers finds a model that is here: first by its name, then the folder it is in.
LOADED = """
import json, os, sys
from huggingface_hub import scan_cache_dir, snapshot_download, try_to_load_from_cache
repo, name, revision = sys.argv[1:]
found = try_to_load_from_cache(repo, name, revision=revision)
folder = snapshot_download(repo, revision=revision, local_files_only=True)
cache = scan_cache_dir()
print(json.dumps({
    "found": found,
    "inside": os.path.exists(os.path.join(folder, name)),
    "warnings": [str(warning) for warning in cache.warnings],
    "size": cache.size_on_disk,
    "repos": [repo.repo_id for repo in cache.repos],
}))
"""


@pytest.fixture
def house(tmp_path: Path):
    with living_in(tmp_path) as house:
        parts = [File(name, model_bytes(90_000, seed=n)) for n, name in enumerate(PARTS, 5)]
        house.hub.add(REPO, File(NAME, CONTENT), *parts)
        yield house


def hf(house: House, *words: str) -> str:
    command = str(Path(sys.executable).with_name("hf"))
    done = subprocess.run([command, *words], env=house.environ(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def load(house: House, name: str, revision: str = "main") -> dict[str, object]:
    """Find a model as other libraries do."""
    command = [sys.executable, "-c", LOADED, REPO, name, revision]
    environ = house.environ(HF_HUB_OFFLINE="1")
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def test_libraries_find_what_we_have_fetched(house: House):
    house.run_here("download", REF, "--json").expect(0)
    seen = load(house, NAME)
    assert Path(str(seen["found"])).read_bytes() == CONTENT
    assert seen["inside"]
    assert (seen["warnings"], seen["size"], seen["repos"]) == ([], len(CONTENT), [REPO])


@pytest.mark.slow
def test_libraries_find_split_models_in_folders_and_on_branches(house: House):
    house.hub.add(REPO, *house.hub.repos[REPO].commits.popitem()[1].values(), ref=BRANCH)
    house.run_here("download", f"{REPO}:Q8_0", "--revision", BRANCH, "--json").expect(0)
    for part in PARTS:
        seen = load(house, part, BRANCH)
        assert seen["found"] and seen["inside"]
        assert (seen["warnings"], seen["size"]) == ([], 180_000)


def test_the_hf_tool_lists_verifies_and_fetches_nothing_again(house: House):
    for ref in (REF, f"{REPO}:Q8_0"):
        house.run_here("download", ref, "--json").expect(0)
    assert REPO in hf(house, "cache", "ls")
    assert "All checksums match" in hf(house, "cache", "verify", REPO)
    house.hub.requests.clear()
    hf(house, "download", REPO)
    assert house.hub.asked("cdn") == []


@pytest.mark.slow
def test_what_they_have_fetched_is_ours_after_a_check(house: House):
    hf(house, "download", REPO)
    house.hub.requests.clear()
    for ref, count in ((REF, 1), (f"{REPO}:Q8_0", 2)):
        files = house.run_here("download", ref, "--json").expect(0).json["files"]
        assert [file["status"] for file in files] == ["adopted"] * count
    assert house.hub.asked("cdn") == []
    assert all(f["ok"] for f in house.run_here("verify", "--json").expect(0).json["files"])


@pytest.mark.slow
def test_what_they_have_fetched_wrong_is_fetched_again(house: House):
    house.hub.breaks(flip_bit=100_000)
    hf(house, "download", REPO, NAME)
    house.hub.recovers()
    (file,) = house.run_here("download", REF, "--json").expect(0).json["files"]
    assert file["status"] == "downloaded"
    assert Path(file["path"]).read_bytes() == CONTENT
    assert "All checksums match" in hf(house, "cache", "verify", REPO)


@pytest.mark.slow
def test_what_they_left_unfinished_does_no_harm(house: House):
    house.hub.breaks(drop_at=50_000)
    command = [str(Path(sys.executable).with_name("hf")), "download", REPO, NAME]
    assert subprocess.run(command, env=house.environ(), capture_output=True).returncode != 0
    house.hub.recovers()
    (file,) = house.run_here("download", REF, "--json").expect(0).json["files"]
    assert Path(file["path"]).read_bytes() == CONTENT
    assert Path(str(load(house, NAME)["found"])).samefile(file["path"])
