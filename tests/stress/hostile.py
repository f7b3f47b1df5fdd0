"""Names, versions and addresses from an enemy: none leads out of the store, none crashes mlm."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes.hub import File
from fakes.hub.tiny import NAME, REPO, model_bytes

from mlm.errors import ExitCode
from stress.house import House, living_in

REF = f"{REPO}:Q4_K_M"
FIELDS = ("rfilename", "etag", "commit", "redirect", "revision", "disposition")
CONTENT = model_bytes(3_000)
TARGET = "OUTSIDE/owned.gguf"  # where a file lands if somebody is tricked
LIMITS = {"outside the store": 0, "crashes": 0}
_PLACES = (
    *("../" * depth + TARGET for depth in (1, 2, 3, 5, 9, 40)),
    "a/../../../../" + TARGET,
    "/ABSOLUTE/" + TARGET,
    "//ABSOLUTE/" + TARGET,
    "blobs/../../../" + TARGET,
    "refs/main/" + TARGET,
    "~/" + TARGET,
    "$HOME/" + TARGET,
)
_DISGUISES = (
    lambda text: text,
    lambda text: text.replace("/", "\\"),
    lambda text: text.replace("/", "%2f"),
    lambda text: text.replace("../", "%2e%2e/"),
    lambda text: text.replace("../", "..%252f"),
    lambda text: text.replace("/", "\u2215"),
    lambda text: text.replace("..", "\uff0e\uff0e"),
    lambda text: text.replace("/", "/./"),
    lambda text: f'"{text}"',
    lambda text: f"W/{text}",
    lambda text: f"{text}\0.gguf",
    lambda text: f"{text}\r\nX-Injected: 1",
    lambda text: f"{text}\n.gguf",
    lambda text: f"\u202e{text}",
)
_ODDITIES = (
    *("", ".", "..", "/", "//", "-rf", "--help", "-x.gguf", "a//b.gguf", "a/./b.gguf", ".gguf"),
    *("con.gguf", "nul", "C:\\x.gguf", "C:x.gguf", "\\\\host\\share\\x.gguf", "x.gguf:stream"),
    *("$(touch OUTSIDE/owned).gguf", "`touch OUTSIDE/owned`", "x;touch OUTSIDE/owned", "| sh"),
    *("file:///etc/passwd", "http://10.0.0.1/x", "https://", "ftp://127.0.0.1/x", "data:,x"),
    *("http://[::1", "http://127.0.0.1:99999/", "http://user:pw@127.0.0.1/", "javascript:1"),
    *("\ud800.gguf", "\x1b]0;owned\x07.gguf", "\x7f", "\x9b2J", "e\u0301.gguf", "\ufeffx.gguf"),
    *("x" * 300 + ".gguf", "x/" * 600 + "x.gguf", "x" * 60_000, "模型.gguf", "🦙.gguf"),
    *("main\0", "F" * 40, "0" * 39, "0" * 41, "g" * 40, "0" * 64, " " * 40, "refs/heads/main"),
    *("index.sqlite", ".locks", "CACHEDIR.TAG", "models--org--tiny-GGUF", "x.mlm-partial"),
    *("*", "?", "[a]", "{a,b}.gguf", "%", "%s%n", "{0.__class__}", "attachment; filename=../x"),
)
_NOT_TEXT: tuple[Any, ...] = (None, 0, -1, 1.5, True, [], ["../x"], {}, {"a": 1}, 10**40)
VALUES: tuple[Any, ...] = tuple(
    dict.fromkeys(disguise(place) for place in _PLACES for disguise in _DISGUISES)
)


@dataclass(frozen=True)
class Case:
    field: str
    value: Any

    def __str__(self) -> str:
        return f"{self.field} {str(self.value)[:40]!r}"


def cases(rounds: int, seed: int) -> Iterator[Case]:
    """Yield ``rounds`` values for every field: the odd ones first, then disguised paths."""
    disguised = list(VALUES)
    random.Random(seed).shuffle(disguised)
    for field in FIELDS:
        plain = [*_ODDITIES, *(_NOT_TEXT if field in ("rfilename", "commit") else ())]
        for value in [*plain, *disguised][:rounds]:
            yield Case(field, value)


def endure(case: Case, folder: Path) -> dict[str, float]:
    """Say the value to a download; nothing may change but what belongs to the store."""
    deep = folder / "a" / "b" / "c" / "d"
    (deep / "OUTSIDE").mkdir(parents=True)
    value = case.value
    if isinstance(value, str):
        value = value.replace("/ABSOLUTE", str(folder))
    with living_in(deep) as house:
        house.hub.add(REPO, File(NAME, CONTENT))
        revision = _say(case.field, value, house)
        before = _snapshot(folder, house)
        words = ("download", REF, "--json", f"--revision={revision}")
        done = house.run_here(*words, MLM_TIMEOUT_SCALE="0.02").expect()
        assert _snapshot(folder, house) == before, "something was written outside the store"
        _check_store(house)
        if done.exit_code == ExitCode.OK:
            (arrived,) = done.json["files"]
            assert Path(arrived["path"]).read_bytes() == CONTENT
    return {
        "runs": 1,
        "accepted": done.exit_code == ExitCode.OK,
        "outside the store": 0,
        "crashes": 0,
    }


def _say(field: str, value: Any, house: House) -> str:
    """Let the hub say the value; return the revision to ask for."""
    hub = house.hub
    header = str(value).encode("utf-8", "surrogatepass").decode("latin-1")
    if field == "rfilename":
        hub.add(REPO, File(NAME, CONTENT), File("x.gguf", CONTENT, listed={"rfilename": value}))
    elif field == "etag":
        hub.breaks(where="resolve", headers={"X-Linked-Etag": header, "ETag": header})
        hub.breaks(headers={"ETag": header})
    elif field == "commit":
        hub.repos[REPO].info["sha"] = value
        hub.breaks(where="resolve", headers={"X-Repo-Commit": header})
    elif field == "redirect":
        hub.breaks(where="resolve", status=302, headers={"Location": header})
    elif field == "disposition":
        hub.breaks(headers={"Content-Disposition": f"attachment; filename={header}"})
    else:
        hub.repos[REPO].refs[str(value)] = hub.repos[REPO].refs["main"]
        return str(value)
    return "main"


def _snapshot(folder: Path, house: House) -> dict[str, tuple[int, int]]:
    """Return all files that are not the store's, with size and time of change."""
    own = (house.home, house.folder / "hf-home")
    found = {}
    for path in folder.rglob("*"):
        if not any(path == place or place in path.parents for place in own):
            status = path.lstat()
            found[str(path)] = (status.st_size if path.is_file() else 0, status.st_mtime_ns)
    del found[str(house.folder)]  # the store's own folders are made in it
    return found


def _check_store(house: House) -> None:
    """Make sure that the cache holds nothing but what a cache holds, all names derived by us."""
    repo = "models--" + REPO.replace("/", "--")
    for path in house.cache.iterdir() if house.cache.exists() else ():
        assert path.name in (repo, ".locks", "CACHEDIR.TAG"), f"{path.name!r} in the cache"
    for blob in house.cache.glob(f"{repo}/blobs/*"):
        name = blob.name.split(".")[0]
        assert len(name) in (40, 64) and set(name) <= set("0123456789abcdef"), f"blob {blob.name!r}"
    for snapshot in house.cache.glob(f"{repo}/snapshots/*"):
        assert len(snapshot.name) == 40 and set(snapshot.name) <= set("0123456789abcdef")
