"""A lock file is the same bytes for the same facts, and believed in nothing that could harm."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlm.errors import UsageError
from mlm.manifest.lock_file import format_lock, lock_path, read_lock, write_lock
from mlm.manifest.types import Lock, LockedModel
from mlm.store.names import is_filename
from mlm.store.ref import HubRef, NameRef
from mlm.store.types import RemoteFile

FILE = RemoteFile("sub/tiny.Q4_K_M.gguf", 300_000, "a" * 64)
MODEL = LockedModel(
    HubRef("org/tiny-GGUF", "Q4_K_M"), None, "org/tiny-GGUF", "0" * 40, "Q4_K_M", "c" * 64, (FILE,)
)
LOCK = Lock((MODEL, replace(MODEL, ref=NameRef("a-model"), revision="v1")), "0.3.36")


def test_what_is_written_is_read_back(tmp_path: Path):
    path = tmp_path / "mlm.lock"
    assert write_lock(path, LOCK)
    read = read_lock(path)
    assert read is not None
    assert set(read.models) == set(LOCK.models)
    assert read.engine == "0.3.36"


def test_the_order_of_the_manifest_does_not_matter():
    assert format_lock(LOCK) == format_lock(replace(LOCK, models=LOCK.models[::-1]))


def test_each_fact_has_a_line_of_its_own():
    changed = replace(MODEL, files=(replace(FILE, sha256="b" * 64),))
    old, new = (format_lock(Lock((model,))).splitlines() for model in (MODEL, changed))
    different = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert different == [(f'        sha256: "{"a" * 64}"', f'        sha256: "{"b" * 64}"')]


def test_the_same_facts_write_nothing(tmp_path: Path):
    path = tmp_path / "mlm.lock"
    write_lock(path, LOCK)
    before = path.stat()
    assert not write_lock(path, LOCK)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@given(st.text(min_size=1, max_size=40).map(lambda text: f"{text}.gguf").filter(is_filename))
def test_any_name_that_a_repository_may_have_survives(tmp_path_factory, name: str):
    path = tmp_path_factory.mktemp("lock") / "mlm.lock"
    lock = Lock((replace(MODEL, files=(replace(FILE, filename=name),)),))
    write_lock(path, lock)
    assert read_lock(path) == lock


def test_a_lock_is_kept_beside_its_manifest():
    assert lock_path(Path("a/mlm.yaml")) == Path("a/mlm.lock")
    assert lock_path(Path("gpu-box.yaml")) == Path("gpu-box.lock")


def test_no_lock_is_an_answer(tmp_path: Path):
    assert read_lock(tmp_path / "mlm.lock") is None


HOSTILE = {  # what somebody wrote instead of a right line
    "repo that climbs": ('repo_id: "org/tiny-GGUF"', 'repo_id: "../../etc"'),
    "repo of another": ('repo_id: "org/tiny-GGUF"', 'repo_id: "evil/tiny-GGUF"'),
    "branch for a commit": (f'commit: "{"0" * 40}"', 'commit: "main"'),
    "commit that climbs": (f'commit: "{"0" * 40}"', 'commit: "../../../../x"'),
    "commit as a number": (f'commit: "{"0" * 40}"', "commit: 0"),
    "commit with a line": (f'commit: "{"0" * 40}"', f'commit: "{"0" * 40}\\n"'),
    "file that climbs": ("sub/tiny.Q4_K_M.gguf", "../../../../tiny.gguf"),
    "file at the root": ("sub/tiny.Q4_K_M.gguf", "/etc/tiny.gguf"),
    "file of windows": ("sub/tiny.Q4_K_M.gguf", "C:\\\\tiny.gguf"),
    "file that is a program": ("sub/tiny.Q4_K_M.gguf", "sub/authorized_keys"),
    "file with an escape": ("sub/tiny.Q4_K_M.gguf", "\\e[2J.gguf"),
    "no checksum": (f'        sha256: "{"a" * 64}"\n', ""),
    "short checksum": (f'sha256: "{"a" * 64}"', 'sha256: "abc"'),
    "checksum in capitals": (f'sha256: "{"a" * 64}"', f'sha256: "{"A" * 64}"'),
    "no bytes": ("size_bytes: 300000", "size_bytes: 0"),
    "less than no bytes": ("size_bytes: 300000", "size_bytes: -1"),
    "more bytes than there are": ("size_bytes: 300000", "size_bytes: 99999999999999999999"),
    "size as text": ("size_bytes: 300000", "size_bytes: many"),
    "true bytes": ("size_bytes: 300000", "size_bytes: true"),
    "quant that climbs": ('quant: "Q4_K_M"', 'quant: "../Q4"'),
    "local model": ('model: "org/tiny-GGUF:Q4_K_M"', 'model: "/etc/passwd"'),
    "revision that climbs": ('revision: "v1"', 'revision: "../../x"'),
    "another version": ("version: 1", "version: 2"),
    "several engines": ("llama-cpp-python==0.3.36", "llama-cpp-python>=0.3"),
    "another engine": ("llama-cpp-python==0.3.36", "evil==1"),
    "unknown key": ("version: 1", "version: 1\nrun: rm"),
    "alias": ("models:", "models: &m"),
    "half of it": ("    files:", ""),
    "merge conflict": ("version: 1", "<<<<<<< HEAD\nversion: 1"),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_lock_that_was_tampered_with_is_refused_where_it_is_wrong(tmp_path: Path, change):
    path, text = tmp_path / "mlm.lock", format_lock(LOCK)
    assert change[0] in text
    path.write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(UsageError, match=r"mlm\.lock:\d+:\d+: ") as refused:
        read_lock(path)
    assert "rm " in str(refused.value.remedy)


def test_a_file_that_is_named_has_to_be_locked(tmp_path: Path):
    path = tmp_path / "mlm.lock"
    lock = Lock((replace(MODEL, ref=HubRef("org/tiny-GGUF", None, "other.gguf")),))
    path.write_text(format_lock(lock), encoding="utf-8")
    with pytest.raises(UsageError, match=r"files lack other\.gguf"):
        read_lock(path)


def test_a_model_or_a_file_is_locked_once(tmp_path: Path):
    path = tmp_path / "mlm.lock"
    for lock in (Lock((MODEL, MODEL)), Lock((replace(MODEL, files=(FILE, FILE)),))):
        path.write_text(format_lock(lock), encoding="utf-8")
        with pytest.raises(UsageError, match="is here twice"):
            read_lock(path)
