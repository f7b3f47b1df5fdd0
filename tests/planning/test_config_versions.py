"""No config is ever lost to a new one: the last ten are kept, and a full disk changes nothing."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from mlm.errors import DiskSpaceError
from mlm.planning.config_file import ConfigError
from mlm.planning.config_versions import (
    VERSIONS_KEPT,
    list_versions,
    restore_version,
    write_version,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config" / "m.yaml"


def texts(path: Path) -> list[str]:
    return [version.path.read_text() for version in list_versions(path)]


def test_a_new_text_keeps_the_one_before_with_its_time(path: Path):
    write_version(path, "one")
    assert list_versions(path) == []
    os.utime(path, (1000, 1000))
    write_version(path, "one")  # nothing has changed
    assert list_versions(path) == []
    write_version(path, "two")
    (version,) = list_versions(path)
    assert (version.number, version.written_at, texts(path)) == (1, 1000, ["one"])
    assert path.read_text() == "two"


def test_so_many_are_kept_and_numbers_are_not_used_again(path: Path):
    for n in range(VERSIONS_KEPT + 5):
        write_version(path, str(n))
    numbers = [version.number for version in list_versions(path)]
    assert numbers == list(range(VERSIONS_KEPT + 4, 4, -1))
    assert texts(path)[0] == str(VERSIONS_KEPT + 3)
    names = sorted(file.name for file in path.parent.rglob("*") if file.is_file())
    assert len(names) == VERSIONS_KEPT + 1


def test_going_back_twice_changes_nothing(path: Path):
    for text in ("one", "two", "three"):
        write_version(path, text)
    for expected, kept in (("two", ["three", "one"]), ("three", ["two", "one"])):
        latest = list_versions(path)[0]
        restore_version(path, latest, latest.path.read_text())
        assert path.read_text() == expected
        assert texts(path) == kept


def test_versions_of_models_with_similar_names_are_not_mixed_up(path: Path):
    twins = [path, path.with_name("m.yaml.1.yaml"), path.with_name("mm.yaml")]
    for twin in twins:
        write_version(twin, f"old {twin.name}")
        write_version(twin, "new")
    for twin in twins:
        assert texts(twin) == [f"old {twin.name}"]


def test_many_writers_at_once_lose_nothing(path: Path):
    write_version(path, "first")
    with ThreadPoolExecutor(4) as writers:
        list(writers.map(lambda n: _write_alone(path, n), range(6)))
    seen = {*texts(path), path.read_text()}
    assert "first" in seen
    assert len(texts(path)) >= 1
    assert not list(path.parent.rglob("*.tmp"))


def _write_alone(path: Path, n: int) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            write_version(path, str(n))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.ENOSPC, DiskSpaceError), (errno.EROFS, ConfigError)]
)
def test_what_cannot_be_written_leaves_the_old_text(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception]
):
    def fail(descriptor: int) -> NoReturn:
        raise OSError(code, os.strerror(code))

    write_version(path, "one")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(kind, match="cannot write") as caught:
            write_version(path, "two")
    assert getattr(caught.value, "remedy", None)
    assert path.read_text() == "one"
    assert not list(path.parent.rglob("*.tmp"))


def test_a_place_that_is_no_folder(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        write_version(tmp_path / "file" / "m.yaml", "text")
    assert list_versions(tmp_path / "file" / "m.yaml") == []


def test_a_file_system_without_links_keeps_versions_too(path: Path, monkeypatch):
    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    write_version(path, "one")
    write_version(path, "two")
    assert texts(path) == ["one"]


def test_a_number_that_another_process_has_just_taken_is_not_written_over(path: Path, monkeypatch):
    write_version(path, "one")
    real = os.link

    def link(source: Path, place: Path) -> None:
        if str(place).endswith(".1"):
            place.write_text("another's")
        real(source, place)

    monkeypatch.setattr(os, "link", link)
    write_version(path, "two")
    assert texts(path) == ["one", "another's"]
