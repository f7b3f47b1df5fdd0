"""``mlm plan`` in llama.cpp's own figures: of a file, of a header, and of neither."""

from pathlib import Path

import pytest
from fakes import gguf_files as g
from fakes.hub import FakeHub, File
from fakes.real_shapes import qwen2_half_billion, write_hole
from fakes.tiny_models import write_tiny_model

from mlm.engine import extra, rehearsal
from mlm.gguf import hole

pytestmark = pytest.mark.usefixtures("warm_home")

REF = "org/tiny-GGUF:Q8_0"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny-Q8_0.gguf")


@pytest.fixture
def remote(tiny: Path, hub: FakeHub) -> FakeHub:
    hub.add("org/tiny-GGUF", File("tiny-Q8_0.gguf", tiny.read_bytes()))
    return hub


def test_the_plan_is_the_same_before_and_after_the_download(mlm, remote: FakeHub, tiny: Path):
    before = mlm("plan", REF, "--json").json
    assert (before["grade"], before["origin"]) == ("exact", "the hub")
    assert mlm("download", REF).exit_code == 0
    after = mlm("plan", REF, "--json").json
    assert (after["grade"], after["origin"]) == ("exact", "this machine")
    here = mlm("plan", tiny, "--json").json
    for document in (after, here):
        for part in ("weights", "repack", "kv_cache", "compute", "output", "overhead"):
            assert document["devices"][0][part] == before["devices"][0][part]


def test_a_second_plan_reads_nothing_from_the_hub_but_the_commit(mlm, remote: FakeHub):
    first = mlm("plan", REF, "--json")
    assert "from the hub" in first.stderr
    n_ranges = len(remote.requested_ranges)
    again = mlm("plan", REF, "--json")
    assert again.json["devices"][0]["kv_cache"] == first.json["devices"][0]["kv_cache"]
    assert again.json["grade"] == "exact"
    assert len(remote.requested_ranges) == n_ranges
    assert "from the hub" not in again.stderr


def sparse(name: str, path: Path) -> File:
    """Return a file on the hub that nobody has to hash."""
    file = File(name, path)
    file.sha256 = "5" * 64
    return file


def test_of_a_large_model_only_the_header_is_moved(mlm, hub: FakeHub, tmp_path: Path):
    path = write_hole("qwen3moe", tmp_path)
    hub.add("org/big-GGUF", sparse("big-Q4_K_M.gguf", path))
    words = ("plan", "org/big-GGUF:Q4_K_M", "--json", "--ctx", "4096", "--parallel", "1")
    document = mlm(*words).json
    assert document["grade"] == "exact"
    assert document["disk_bytes"] == path.stat().st_size > 17_000_000_000
    assert document["devices"][0]["kv_cache"] == 48 * 4096 * 2 * 4 * 128 * 2
    assert hub.requested_ranges == ["bytes=0-1048575"]


def test_what_is_planned_for_another_machine_is_asked_here_too(mlm, tiny: Path):
    laptop = mlm("plan", tiny, "--json", "--hardware", "16GB laptop").json
    assert laptop["grade"] == "exact"


def test_a_card_that_is_not_here_makes_it_less_than_exact(mlm, tiny: Path):
    document = mlm("plan", tiny, "--json", "--hardware", "RTX 4090").json
    cpu, card = document["devices"]
    assert document["grade"] == "computed"
    assert card["kv_cache"] > 0 == cpu["kv_cache"]
    assert any("not asked about cuda0" in reason for reason in document["reasons"])
    on_cpu = mlm("plan", tiny, "--json", "--hardware", "RTX 4090", "--gpu-layers", "0").json
    assert on_cpu["grade"] == "exact"


def test_without_the_engine_it_is_computed_and_says_so(
    mlm, tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(extra, "find_spec", lambda name: None)
    document = mlm("plan", tiny, "--json").json
    assert document["grade"] == "computed"
    assert any("the engine is not installed" in reason for reason in document["reasons"])


def test_a_model_that_llama_cpp_refuses_is_computed_with_its_reason(mlm, tmp_path: Path):
    document = mlm("plan", g.llama().write(tmp_path / "odd.gguf"), "--json").json
    assert document["grade"] == "computed"
    assert any("layer_norm_rms_epsilon" in reason for reason in document["reasons"])


def test_a_header_that_llama_cpp_does_not_survive_is_computed(
    mlm, tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rehearsal, "_COMMAND", ("/bin/sh", "-c", "kill -SEGV $$"))
    result = mlm("plan", tiny, "--json")
    assert result.exit_code == 0
    assert result.json["grade"] == "computed"
    assert any("SIGSEGV" in reason for reason in result.json["reasons"])


def test_where_no_file_can_stand_in_it_is_computed(
    mlm, remote: FakeHub, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hole, "_write_all", full)
    result = mlm("plan", REF, "--json")
    assert result.exit_code == 0
    assert result.json["grade"] == "computed"
    assert any("No space left" in reason for reason in result.json["reasons"])


def test_nothing_of_it_stays_in_the_temporary_folder(
    mlm, remote: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    assert mlm("plan", REF, "--json").json["grade"] == "exact"
    assert list(temporary.iterdir()) == []


def test_a_hub_that_goes_away_behind_the_header_leaves_a_computed_plan(
    mlm, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    from mlm.errors import NetworkError
    from mlm.gguf.hole import Recorder

    def gone(self: Recorder, length: int) -> bytes:
        raise NetworkError("the hub is gone")

    data = write_tiny_model(tmp_path / "t.gguf").read_bytes()
    hub.add("org/tiny-GGUF", File("tiny-Q8_0.gguf", data))
    monkeypatch.setattr(Recorder, "head", gone)
    result = mlm("plan", REF, "--json")
    assert result.exit_code == 0
    assert result.json["grade"] == "computed"
    assert not (tmp_path / "mlm-home" / "cache" / "headers").exists()


def test_parts_of_a_split_model_are_rehearsed_together(mlm, hub: FakeHub, tmp_path: Path):
    made, second = qwen2_half_billion(), g.GGUFFile()
    second.tensors, made.tensors = made.tensors[150:], made.tensors[:150]
    files = []
    for number, part in enumerate((made, second)):
        part.set("split.no", g.U16, number).set("split.count", g.U16, 2)
        part.set("split.tensors.count", g.I32, 290)
        size = sum(tensor.n_bytes + -tensor.n_bytes % part.alignment for tensor in part.tensors)
        part.data = b""
        name = f"m-Q8_0-0000{number + 1}-of-00002.gguf"
        path = part.write(tmp_path / name)
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size + size)
        files.append(sparse(name, path))
    hub.add("org/split-GGUF", *files)
    assert mlm("plan", "org/split-GGUF:Q8_0", "--json").json["grade"] == "exact"
