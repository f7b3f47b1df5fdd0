"""``mlm adopt``: models of other tools, told apart by content."""

import json
import os
import stat
from pathlib import Path

import pytest
from fakes import gguf_files, neighbours
from fakes.announced import announce
from fakes.catalog_file import SMALL, bend
from fakes.hub import FakeHub, File
from fakes.hub.tiny import REPO
from fakes.killed import killed_at

from mlm.errors import ExitCode

MODEL = gguf_files.llama().encode()
OTHER = gguf_files.llama(n_vocab=64).encode()
QWEN = "registry.ollama.ai/library/qwen3/8b"


@pytest.fixture(autouse=True)
def user_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the user's own, where the neighbours keep their things."""
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def ollama(user_home: Path) -> Path:
    return user_home / ".ollama" / "models"


@pytest.fixture
def installed(mlm, hub: FakeHub) -> Path:
    """A model from the hub."""
    hub.add(REPO, File("tiny.Q8_0.gguf", MODEL))
    return Path(mlm("download", REPO, "--json").json["files"][0]["path"])


def rows(done) -> dict[str, str]:
    return {row["model_id"]: row["status"] for row in done.json["models"]}


def reasons(done) -> str:
    return " | ".join(item["reason"] for item in done.json["skipped"])


def listed(mlm) -> list[str]:
    return sorted(model["model_id"] for model in mlm("list", "--json").json["models"])


def test_nobody_there_is_said_so(mlm):
    done = mlm("adopt", "--yes")
    assert (done.exit_code, done.stdout) == (ExitCode.OK, "no models of other tools\n")
    assert mlm("adopt", "--json").json["schema"] == "mlm.adopt/1"


def test_every_neighbour_is_found_and_nothing_changes_without_a_yes(mlm, user_home: Path, ollama):
    neighbours.ollama(ollama, QWEN, MODEL)
    lm_studio = user_home / ".lmstudio" / "models"
    neighbours.lm_studio(lm_studio, "org/studio-GGUF/studio.Q8_0.gguf", OTHER)
    neighbours.llama_cpp(
        user_home / ".cache" / "llama.cpp", "org/cpp-GGUF", "cpp.Q4_0.gguf", OTHER + b"x"
    )
    done = mlm("adopt", "--json")
    assert done.exit_code == ExitCode.OK
    assert rows(done) == {
        "ollama-qwen3-8b": "new",
        "org/studio-GGUF:Q8_0": "new",
        "org/cpp-GGUF:Q4_0": "new",
    }
    assert done.json["dry_run"] is True
    assert "--yes" in mlm("adopt").stderr
    assert listed(mlm) == []


def test_with_a_yes_they_are_registered_in_place_and_can_be_used(mlm, ollama: Path):
    blob = neighbours.ollama(ollama, QWEN, MODEL)
    assert mlm("adopt", "--yes").exit_code == ExitCode.OK
    model = mlm("show", "ollama-qwen3-8b", "--json").json["model"]
    assert (model["path"], model["sha256"]) == (str(blob), neighbours.digest(MODEL))
    assert model["verified_at"] > 0
    assert mlm("verify").exit_code == ExitCode.OK
    assert rows(mlm("adopt", "--json")) == {"ollama-qwen3-8b": "known"}
    mlm("rm", "ollama-qwen3-8b", "--yes")
    assert blob.read_bytes() == MODEL, "the file is Ollama's"


def test_a_dry_run_wins_over_a_yes(mlm, ollama: Path):
    neighbours.ollama(ollama, QWEN, MODEL)
    assert mlm("adopt", "--yes", "--dry-run", "--json").json["dry_run"] is True
    assert listed(mlm) == []


def test_what_the_catalog_pins_goes_by_its_name(mlm, ollama: Path, home: Path):
    neighbours.ollama(ollama, "registry.ollama.ai/me/renamed/latest", MODEL)
    quant = SMALL["models"][0]["quants"][1]
    pinned = quant | {"sha256": neighbours.digest(MODEL), "size_bytes": len(MODEL)}
    document = bend({("models", 0, "quants"): [pinned], ("models", 0, "params"): 2 * len(MODEL)})
    neighbours.put(home / "catalog" / "house.yaml", json.dumps(document).encode())
    assert mlm("adopt", "--yes").exit_code == ExitCode.OK
    (model,) = mlm("list", "--json").json["models"]
    assert (model["model"], model["model_id"]) == ("house-1b", "house-1b:Q4_K_M")
    for name in ("house-1b", "house-1b:Q4_K_M", "me/House-GGUF:Q4_K_M"):
        assert mlm("show", name).exit_code == ExitCode.OK


def test_names_of_the_hub_inside_ollama_are_understood(mlm, ollama: Path):
    neighbours.ollama(ollama, "hf.co/org/some-GGUF/Q8_0", MODEL)
    assert rows(mlm("adopt", "--yes", "--json")) == {"org/some-GGUF:Q8_0": "new"}
    assert mlm("show", "org/some-GGUF:Q8_0").exit_code == ExitCode.OK


def test_two_names_of_one_blob_are_one_model(mlm, ollama: Path):
    neighbours.ollama(ollama, "registry.ollama.ai/library/qwen3/latest", MODEL)
    neighbours.ollama(ollama, QWEN, MODEL)
    assert rows(mlm("adopt", "--yes", "--json")) == {"ollama-qwen3-8b": "new"}


def test_a_blob_is_not_believed_to_be_what_its_name_says(mlm, ollama: Path):
    neighbours.ollama(ollama, QWEN, MODEL, claim="a" * 64)
    done = mlm("adopt", "--yes", "--json")
    assert done.json["models"] == []
    assert "not what its name says" in reasons(done)
    assert listed(mlm) == []


def test_another_cache_of_the_hub_is_a_neighbour_too(mlm, installed: Path, tmp_path: Path, hub):
    hub.add("org/other-GGUF", File("other.Q8_0.gguf", OTHER))
    os.environ["HF_HOME"] = str(tmp_path / "second")
    try:
        mlm("--home", str(tmp_path / "second-home"), "download", "org/other-GGUF")
    finally:
        os.environ["HF_HOME"] = str(tmp_path / "hf-home")
    done = mlm("adopt", "--path", tmp_path / "second" / "hub", "--yes", "--json")
    assert rows(done) == {"org/other-GGUF:Q8_0": "new"}
    mlm("rm", "org/other-GGUF", "--yes")
    assert list((tmp_path / "second" / "hub").rglob("*.gguf")), "it is not ours to delete"


def test_what_mlm_has_brought_itself_is_no_news(mlm, installed: Path):
    assert mlm("adopt", "--json").json["models"] == []


def test_what_hf_put_into_our_own_cache_is_verified_and_listed(mlm, installed: Path):
    blobs = installed.resolve().parent
    sha256 = neighbours.digest(OTHER)
    (blobs / sha256).write_bytes(OTHER)
    (installed.parent / "other.Q4_0.gguf").symlink_to(f"../../blobs/{sha256}")
    done = mlm("adopt", "--from", "hf", "--yes", "--json")
    assert rows(done)[f"{REPO}:Q4_0"] == "new"
    model = mlm("show", f"{REPO}:Q4_0", "--json").json["model"]
    assert (model["sha256"], model["origin"]) == (sha256, "adopted")


def test_the_same_bytes_are_recognised_and_counted_before_anything_happens(
    mlm, installed: Path, ollama: Path
):
    blob = neighbours.ollama(ollama, QWEN, MODEL)
    done = mlm("adopt", "--json")
    row = next(row for row in done.json["models"] if row["from"] == "ollama")
    assert (row["status"], row["keeps"], row["reclaimable_bytes"]) == (
        "duplicate",
        None,
        len(MODEL),
    )
    assert done.json["reclaimable_bytes"] == len(MODEL)
    assert blob.stat().st_nlink == 1


def test_linking_makes_one_file_of_two(mlm, installed: Path, ollama: Path):
    blob = neighbours.ollama(ollama, QWEN, MODEL)
    blob.chmod(0o644)
    done = mlm("adopt", "--link", "--yes", "--json")
    assert done.exit_code == ExitCode.OK
    assert done.json["reclaimed_bytes"] == len(MODEL)
    row = next(row for row in done.json["models"] if row["from"] == "ollama")
    assert row["shared"] in ("hardlink", "clone")
    assert blob.read_bytes() == installed.read_bytes() == MODEL
    if row["shared"] == "hardlink":
        assert blob.samefile(installed)
        assert stat.S_IMODE(installed.stat().st_mode) == 0o444
    assert [path.name for path in blob.parent.iterdir()] == [blob.name]
    assert mlm("verify").exit_code == ExitCode.OK
    again = mlm("adopt", "--link", "--yes", "--json")
    assert again.json["reclaimed_bytes"] == 0


def test_two_neighbours_with_the_same_bytes_are_linked_too(mlm, user_home: Path, ollama: Path):
    blob = neighbours.ollama(ollama, QWEN, MODEL)
    studio = neighbours.lm_studio(
        user_home / ".lmstudio" / "models", "org/same-GGUF/same.Q8_0.gguf", MODEL
    )
    done = mlm("adopt", "--link", "--yes", "--json")
    assert sorted(rows(done).values()) == ["duplicate", "new"]
    assert done.json["reclaimed_bytes"] == len(MODEL)
    assert blob.read_bytes() == studio.read_bytes() == MODEL
    assert len(listed(mlm)) == 1


def test_a_download_takes_what_was_adopted(mlm, ollama: Path, hub: FakeHub):
    blob = neighbours.ollama(ollama, QWEN, MODEL)
    mlm("adopt", "--yes")
    hub.add(REPO, File("tiny.Q8_0.gguf", MODEL))
    (file,) = mlm("download", REPO, "--json").json["files"]
    assert (file["status"], file["fetched_bytes"]) == ("adopted", 0)
    assert Path(file["path"]).read_bytes() == blob.read_bytes() == MODEL
    assert mlm("verify").exit_code == ExitCode.OK


def test_a_file_already_registered_stays_known_after_linking(mlm, ollama: Path, hub: FakeHub):
    neighbours.ollama(ollama, QWEN, MODEL)
    hub.add(REPO, File("tiny.Q8_0.gguf", MODEL))
    mlm("download", REPO)
    mlm("import", ollama / "blobs" / f"sha256-{neighbours.digest(MODEL)}")
    assert mlm("adopt", "--link", "--yes", "--json").json["reclaimed_bytes"] == len(MODEL)
    quick = mlm("verify", "--quick", "--json").json["files"]
    assert [file["ok"] for file in quick] == [True, True]
    assert mlm("verify").exit_code == ExitCode.OK


def test_what_a_server_has_open_stays_apart(mlm, installed: Path, ollama: Path, home: Path):
    blob = neighbours.ollama(ollama, QWEN, MODEL)
    announce(home, models={"it": str(blob)})
    done = mlm("adopt", "--link", "--yes", "--json")
    assert done.exit_code == ExitCode.CONFLICT
    row = next(row for row in done.json["models"] if row["from"] == "ollama")
    assert "server" in row["trouble"]
    assert blob.stat().st_nlink == 1


def test_who_may_read_is_never_changed(mlm, installed: Path, ollama: Path):
    blob = neighbours.ollama(ollama, QWEN, MODEL)
    blob.chmod(0o600)
    done = mlm("adopt", "--link", "--yes", "--json")
    assert done.exit_code == ExitCode.OK
    row = next(row for row in done.json["models"] if row["from"] == "ollama")
    assert "others may read" in row["keeps"]
    assert (blob.stat().st_nlink, stat.S_IMODE(blob.stat().st_mode)) == (1, 0o600)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs to give files away")
def test_another_users_file_stays_another_users(mlm, installed: Path, ollama: Path):
    blob = neighbours.ollama(ollama, QWEN, MODEL)
    os.chown(blob, 65534, 65534)
    done = mlm("adopt", "--link", "--yes", "--json")
    row = next(row for row in done.json["models"] if row["from"] == "ollama")
    assert row["keeps"] == "it belongs to another user"
    assert blob.stat().st_uid == 65534


def test_a_file_that_changes_between_the_hash_and_the_link_is_left(
    mlm, installed: Path, ollama: Path, monkeypatch
):
    from mlm.store import linking

    blob = neighbours.ollama(ollama, QWEN, MODEL)
    real = linking.share_file

    def meddle(source: Path, target: Path):
        blob.write_bytes(MODEL + b"!")
        return real(source, target)

    monkeypatch.setattr(linking, "share_file", meddle)
    done = mlm("adopt", "--link", "--yes", "--json")
    row = next(row for row in done.json["models"] if row["from"] == "ollama")
    assert row["trouble"] == "it was changed meanwhile"
    assert blob.read_bytes() == MODEL + b"!"
    assert len(list(blob.parent.iterdir())) == 1


@pytest.mark.slow
def test_killed_at_every_step_no_byte_is_lost(mlm, installed: Path, ollama: Path):
    blob = neighbours.ollama(ollama, QWEN, MODEL)
    for step in range(1, 20):
        killed = killed_at(step, "mlm-link", "adopt", "--link", "--yes")
        assert blob.read_bytes() == installed.read_bytes() == MODEL
        if not killed:
            break
    assert step > 2, "the steps were not seen"
    assert [path.name for path in blob.parent.iterdir()] == [blob.name]
    assert mlm("verify").exit_code == ExitCode.OK


HOSTILE = {
    "empty": b"",
    "no json": b"<html>",
    "deep": b"[" * 100_000,
    "huge": b" " * 2_000_000,
    "a list": b"[1, 2]",
    "layers of the wrong kind": b'{"layers": {"a": 1}}',
    "a layer of the wrong kind": b'{"layers": [1, null, "x"]}',
    "a digest of the wrong kind": (
        b'{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": {"a": []}}]}'
    ),
    "a digest that climbs": (
        b'{"layers": [{"mediaType": "application/vnd.ollama.image.model",'
        b' "digest": "sha256:../../../../etc/passwd"}]}'
    ),
    "a digest of nothing": (
        b'{"layers": [{"mediaType": "application/vnd.ollama.image.model",'
        b' "digest": "sha256:' + b"f" * 64 + b'"}]}'
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_manifest_is_skipped_and_the_next_one_read(mlm, ollama: Path, kind: str):
    neighbours.manifest(ollama, "registry.ollama.ai/library/evil/1b", HOSTILE[kind])
    neighbours.ollama(ollama, QWEN, MODEL)
    done = mlm("adopt", "--yes", "--json")
    assert done.exit_code == ExitCode.OK
    assert rows(done) == {"ollama-qwen3-8b": "new"}
    assert len(done.json["skipped"]) == 1
    assert mlm("adopt").exit_code == ExitCode.OK


def test_links_pipes_and_strange_names_are_skipped_with_the_reason(
    mlm, ollama: Path, user_home: Path, tmp_path: Path
):
    good = neighbours.ollama(ollama, QWEN, MODEL)
    manifests = ollama / "manifests" / "registry.ollama.ai" / "library"
    (manifests / "loop").symlink_to(manifests)
    os.mkfifo(manifests / "qwen3" / "pipe")
    neighbours.put(manifests / os.fsdecode(b"\x1b[31m\xff\n") / "x", b"{}")
    studio = user_home / ".lmstudio" / "models" / "org" / "x-GGUF"
    outside = neighbours.put(tmp_path / "outside.gguf", OTHER)
    studio.mkdir(parents=True)
    (studio / "out.gguf").symlink_to(outside)
    (studio / "circle.gguf").symlink_to(studio / "circle.gguf")
    (studio / "nowhere.gguf").symlink_to(studio / "nothing")
    os.mkfifo(studio / "pipe.gguf")
    neighbours.put(studio / "page.gguf", b"<html>")
    neighbours.put(studio / "empty.gguf", b"")
    neighbours.put(studio / "cut.Q8_0.gguf", MODEL[:5000])
    (studio / "again").symlink_to(studio)
    done = mlm("adopt", "--yes", "--json")
    assert done.exit_code == ExitCode.OK
    assert rows(done) == {"ollama-qwen3-8b": "new"}
    for reason in (
        "leads out of the store",
        "circle",
        "nowhere",
        "not a regular file",
        "not a GGUF",
    ):
        assert reason in reasons(done)
    assert len(done.json["skipped"]) >= 9
    assert "\x1b" not in mlm("adopt").stdout
    assert listed(mlm) == ["ollama-qwen3-8b"]
    assert good.read_bytes() == MODEL


def test_a_folder_that_may_not_be_read_is_named(mlm, ollama: Path, monkeypatch):
    neighbours.ollama(ollama, QWEN, MODEL)
    real = os.scandir

    def refuse(path):
        if str(path).endswith("qwen3"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    done = mlm("adopt", "--json")
    assert "permission denied" in reasons(done)


def test_shards_of_lm_studio_are_one_model(mlm, user_home: Path):
    folder = user_home / ".lmstudio" / "models" / "org" / "two-GGUF"
    for n in (1, 2):
        part = gguf_files.llama() if n == 1 else gguf_files.GGUFFile()
        part.set("split.count", gguf_files.U16, 2).set("split.no", gguf_files.U16, n - 1)
        part.write(folder / f"two-Q8_0-0000{n}-of-00002.gguf")
    assert mlm("adopt", "--yes").exit_code == ExitCode.OK
    (model,) = mlm("list", "--json").json["models"]
    assert (model["n_files"], model["ref"]) == (2, "org/two-GGUF:Q8_0")


def test_any_folder_can_be_named_and_one_that_is_none_is_refused(mlm, tmp_path: Path):
    neighbours.put(tmp_path / "pile" / "deep" / "down" / "here" / "a.gguf", MODEL)
    assert mlm("adopt", "--path", tmp_path / "pile", "--yes").exit_code == ExitCode.OK
    assert len(listed(mlm)) == 1
    assert mlm("adopt", "--path", tmp_path / "none").exit_code == ExitCode.NOT_FOUND
    assert mlm("adopt", "--from", "nobody").exit_code == ExitCode.USAGE


def test_nothing_large_is_hashed_before_there_is_a_reason(mlm, ollama: Path, monkeypatch):
    from mlm.store import verify

    neighbours.ollama(ollama, QWEN, MODEL)

    def refuse(*args: object) -> None:
        raise AssertionError("it was hashed")

    monkeypatch.setattr(verify, "digest_file", refuse)
    assert rows(mlm("adopt", "--json")) == {"ollama-qwen3-8b": "new"}


@pytest.mark.parametrize("columns", ["50", "80"])
def test_the_table_fits_the_screen(mlm, ollama: Path, installed, monkeypatch, columns: str):
    neighbours.ollama(ollama, QWEN, MODEL)
    monkeypatch.setenv("COLUMNS", columns)
    assert max(map(len, mlm("adopt").stdout.splitlines())) <= int(columns)
