"""Can mlm write where it has to, is there room, and are its files in order?"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from mlm.cli.doctor._finding import Finding
from mlm.errors import ExitCode
from mlm.settings import Settings
from mlm.store.store import Store
from mlm.units import GIB, format_size

# An 8B model at four bits takes about 5 GiB; below 1 GiB not even the databases are safe.
ROOM_TO_DOWNLOAD, ROOM_TO_LIVE = 10 * GIB, 1 * GIB


def check_folders(settings: Settings) -> Iterator[Finding]:
    """mlm's own folder and the models' can be written, and their disks have room."""
    for name, folder in (("home", settings.home.root), ("models", settings.hub_cache)):
        existing = _nearest_existing(folder)
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            yield Finding(
                name,
                "fail",
                f"{folder} cannot be written: {existing} is not a folder of yours",
                fix=f"export {'MLM_HOME' if name == 'home' else 'HF_HUB_CACHE'}=~/some/folder",
                exit_code=ExitCode.USAGE,
            )
        else:
            yield judge_room(name, folder, shutil.disk_usage(existing).free)


def judge_room(name: str, folder: Path, free: int) -> Finding:
    """Return whether ``free`` bytes are enough for what is kept in ``folder``."""
    detail = f"{folder}, {format_size(free)} free"
    if free < ROOM_TO_LIVE:
        return Finding(name, "fail", detail, "mlm df, then mlm prune", ExitCode.DISK_SPACE)
    if name == "models" and free < ROOM_TO_DOWNLOAD:
        return Finding(name, "warn", f"{detail}: room for small models only", "mlm df")
    return Finding(name, "ok", detail)


def check_databases(settings: Settings) -> Iterator[Finding]:
    """The SQLite files are sound. A broken one is put aside by its user, and begun anew."""
    home = settings.home
    broken = []
    databases = (
        home.index_db,
        home.stats_db,
        home.ledger_db,
        home.response_cache_db,
        home.sessions_db,
    )
    present = [file for file in databases if file.exists()]
    for file in present:
        if why := _find_damage(file):
            broken.append(f"{file.name}: {why}")
    if broken:
        detail = f"{'; '.join(broken)}; it is put aside and begun anew when it is used next"
        yield Finding("databases", "warn", detail, fix="mlm list")
    else:
        names = ", ".join(file.name for file in present) or "none yet"
        yield Finding("databases", "ok", names)


def check_store(settings: Settings) -> Iterator[Finding]:
    """The models in the index are where it says, and verified."""
    with Store(settings.home, settings.hub_cache) as store:
        models = store.models()
    gone = [model.ref for model in models if not model.path.exists()]
    unverified = [model.ref for model in models if model.verified_at is None]
    if gone:
        yield Finding("store", "warn", f"gone from disk: {', '.join(gone)}", f"mlm rm {gone[0]}")
    if unverified:
        detail = f"never verified: {', '.join(unverified)}"
        yield Finding("store", "warn", detail, f"mlm verify {unverified[0]}")
    if not gone and not unverified:
        names = ", ".join(model.ref for model in models)
        yield Finding("store", "ok", f"verified: {names}" if models else "no models yet")


def _find_damage(file: Path) -> str | None:
    """Return what is wrong with a database, None if it is sound."""
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        return str(error)
    return None if verdict == "ok" else str(verdict)


def _nearest_existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
