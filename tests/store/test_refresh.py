"""What has become of the files of an entry, by the listings of their repositories."""

from dataclasses import replace

import pytest
from fakes.facts import entry, quant

from mlm.catalog.types import CatalogEntry, Quant, Shard, SideFile
from mlm.store.refresh import Refreshed, refresh_entry
from mlm.store.types import RemoteFile, RepoFiles

REPO, COMMIT = "org/m-GGUF", "c" * 40
OLD, NEW = "a" * 64, "b" * 64


def known(**fields: object) -> Quant:
    made = replace(quant("Q4_K_M", 100), sha256=OLD, sha256_verified=False, size_exact=True)
    return replace(made, **fields)  # type: ignore[arg-type]


def refresh(listed: CatalogEntry, *files: RemoteFile) -> Refreshed:
    return refresh_entry(listed, {REPO: RepoFiles(REPO, COMMIT, files)})


def file(name: str = "m-Q4_K_M.gguf", size: int = 100, sha256: str | None = OLD) -> RemoteFile:
    return RemoteFile(name, size, sha256)


def test_what_is_the_same_stays_word_for_word():
    listed = entry("m", known())
    refreshed = refresh(listed, file())
    assert not refreshed.has_changed
    assert refreshed.entry == listed


@pytest.mark.parametrize(
    ("listed", "found", "news"),
    [
        (known(sha256=None), file(), "pinned"),
        (known(size_exact=False, size_bytes=90), file(), "pinned"),
        (known(sha256=None, size_bytes=90), file(), "resized"),
        (known(), file(sha256=NEW), "replaced"),
        (known(sha256_verified=True), file(sha256=NEW, size=101), "replaced"),
        (known(), file("m-Q8_0.gguf"), "gone"),
        (known(), file(size=0), "gone"),
        (known(), file(sha256=None), "same"),
    ],
)
def test_a_file_is_told_what_became_of_it(listed: Quant, found: RemoteFile, news: str):
    [looked_up] = refresh(entry("m", listed), found).files
    assert looked_up.news == news


def test_what_is_new_replaces_the_old_with_its_commit_and_source():
    refreshed = refresh(entry("m", known(sha256_verified=True)), file(size=101, sha256=NEW))
    [renewed] = refreshed.entry.quants
    assert (renewed.size_bytes, renewed.sha256, renewed.revision) == (101, NEW, COMMIT)
    assert not renewed.sha256_verified
    assert renewed.source == f"hub {REPO}@{COMMIT}"
    assert refreshed.files[0].was_verified


def test_what_is_gone_is_left_out_unless_nothing_would_remain():
    other = known(quant="Q8_0", filename="m-Q8_0.gguf")
    refreshed = refresh(entry("m", known(), other), file("m-Q8_0.gguf"))
    assert [q.quant for q in refreshed.entry.quants] == ["Q8_0"]
    assert refresh(entry("m", known())).entry.quants == (known(),)


def test_a_set_of_shards_is_one_file_and_each_keeps_its_checksum():
    names = [f"m-0000{n}-of-00002.gguf" for n in (1, 2)]
    listed = known(filename=names[0], n_files=2, sha256=None, size_bytes=200)
    found = [file(names[1], 100, NEW), file(names[0], 100, OLD)]
    refreshed = refresh(entry("m", listed), *found)
    assert refreshed.files[0].news == "pinned"
    [renewed] = refreshed.entry.quants
    assert renewed.shards == (Shard(names[0], 100, OLD), Shard(names[1], 100, NEW))

    again = refresh(refreshed.entry, *found)
    assert not again.has_changed
    moved = refresh(refreshed.entry, found[0], file(names[0], 100, "d" * 64))
    assert moved.files[0].news == "replaced"
    assert refresh(refreshed.entry, found[0]).files[0].news == "gone", "half a set is none"


def test_a_projector_is_looked_up_too_and_others_are_named():
    side = SideFile(REPO, "main", "mmproj-F16.gguf", 7, True, None, False, "test")
    listed = replace(entry("m", known()), mmproj=(side,))
    found = (file(), file("mmproj-F16.gguf", 8, NEW), file("m-IQ2_XS.gguf"), file("m-Q8_0.gguf"))
    refreshed = refresh(listed, *found)
    assert [one.label for one in refreshed.files] == ["Q4_K_M", "mmproj"]
    assert refreshed.entry.mmproj[0].sha256 == NEW
    assert refreshed.unlisted == ("IQ2_XS", "Q8_0")


def test_a_model_whose_projector_has_gone_is_not_for_pictures_any_more():
    side = SideFile(REPO, "main", "mmproj-F16.gguf", 7, True, None, False, "test")
    listed = replace(entry("m", known()), mmproj=(side,), use_cases=("chat", "vision"))
    refreshed = refresh(listed, file())
    assert refreshed.entry.mmproj == ()
    assert refreshed.entry.use_cases == ("chat",)


def test_files_of_a_repository_that_did_not_answer_stay():
    listed = entry("m", known(), known(quant="Q8_0", repo_id="other/m-GGUF"))
    refreshed = refresh(listed, file(sha256=NEW))
    assert refreshed.entry.quants[1] == listed.quants[1]
    assert len(refreshed.files) == 1
