"""The Hugging Face cache on disk."""

from pathlib import Path

import pytest

from mlm.store.cache_layout import RepoCache

A, B = "a" * 40, "b" * 40


@pytest.fixture
def cache(tmp_path: Path) -> RepoCache:
    made = RepoCache(tmp_path / "hub", "org/repo")
    made.prepare()
    return made


def put(cache: RepoCache, name: str, content: str = "x") -> Path:
    cache.lock(name).parent.mkdir(parents=True, exist_ok=True)
    partial = cache.partial(name)
    partial.write_text(content)
    return cache.publish(partial, name)


def tree(cache: RepoCache) -> list[str]:
    return sorted(p.relative_to(cache.root).as_posix() for p in cache.root.rglob("*"))


def test_a_blob_cannot_be_written_any_more(cache: RepoCache):
    assert put(cache, "1" * 64).stat().st_mode & 0o777 == 0o444


def test_a_snapshot_leads_to_its_blob_by_a_relative_link(cache: RepoCache):
    blob = put(cache, "1" * 64)
    path = cache.link(A, "sub/x.gguf", blob)
    assert str(path.readlink()) == f"../../../blobs/{'1' * 64}"
    assert path.read_text() == "x"


def test_linking_again_changes_what_a_name_leads_to(cache: RepoCache):
    cache.link(A, "x.gguf", put(cache, "1" * 64, "old"))
    path = cache.link(A, "x.gguf", put(cache, "2" * 64, "new"))
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["x.gguf"]


def test_a_ref_remembers_the_commit(cache: RepoCache):
    blob = put(cache, "1" * 64)
    cache.set_ref("refs/pr/1", A, blob)
    cache.set_ref(A, A, blob)
    assert (cache.refs / "refs/pr/1").read_text() == A
    assert [p.name for p in cache.refs.rglob("*") if p.is_file()] == ["1"]


def test_removing_the_only_file_removes_everything(cache: RepoCache):
    blob = put(cache, "1" * 64, "four")
    cache.link(A, "sub/x.gguf", blob)
    cache.set_ref("main", A, blob)
    assert cache.remove(A, "sub/x.gguf") == 4
    assert not cache.root.exists()


def test_removing_one_of_two_leaves_the_other(cache: RepoCache):
    blob = put(cache, "1" * 64)
    cache.link(A, "x.gguf", blob)
    cache.link(A, "y.gguf", put(cache, "2" * 64))
    cache.set_ref("main", A, blob)
    cache.remove(A, "x.gguf")
    assert tree(cache) == [
        "blobs", f"blobs/{'2' * 64}", "refs", "refs/main", "snapshots", f"snapshots/{A}",
        f"snapshots/{A}/y.gguf",
    ]  # fmt: skip


def test_a_blob_that_another_commit_uses_stays(cache: RepoCache):
    blob = put(cache, "1" * 64)
    cache.link(A, "x.gguf", blob)
    kept = cache.link(B, "x.gguf", blob)
    cache.set_ref("main", A, blob)
    assert cache.remove(A, "x.gguf") == 0
    assert kept.read_text() == "x"
    assert not (cache.refs / "main").exists(), "hf calls a ref to nothing a corrupt cache"


def test_where_links_are_forbidden_the_file_is_there_all_the_same(
    cache: RepoCache, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    blob = put(cache, "1" * 64, "four")
    path = cache.link(A, "x.gguf", blob)
    assert not path.is_symlink() and path.read_text() == "four"
    assert cache.blob_of(path) == blob
    assert cache.remove(A, "x.gguf") == 4
    assert not cache.root.exists()


def test_a_link_out_of_the_cache_is_never_followed_when_deleting(cache: RepoCache, tmp_path: Path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    path = cache.snapshot(A, "x.gguf")
    path.parent.mkdir(parents=True)
    path.symlink_to(precious)
    assert cache.remove(A, "x.gguf") == 0
    assert precious.read_text() == "mine"
