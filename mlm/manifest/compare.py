"""What differs between what is wanted, what is locked, and what is installed."""

from collections.abc import Iterator

from mlm.errors import GateFailedError
from mlm.hardware.types import Hardware
from mlm.manifest.engine import PACKAGE, allows, exact_version
from mlm.manifest.types import Demands, Lock, LockedModel, Manifest, WantedModel
from mlm.units import format_size


class DriftError(GateFailedError):
    """Something is not as the lock file has it, and it was asked to be frozen."""

    code = "drift"

    def __init__(self, drifts: list[str]) -> None:
        super().__init__(
            "; ".join(drifts),
            remedy="undo it; or without --frozen mlm sync takes over mlm.yaml and writes configs"
            " anew, and mlm setup mlm.yaml installs the locked engine",
        )


def answers(locked: LockedModel, wanted: WantedModel) -> bool:
    """Whether ``locked`` is what ``wanted`` asks the hub for; how it is run may have changed."""
    return (locked.name, locked.revision) == (wanted.name, wanted.revision)


def find_drift(manifest: Manifest, lock: Lock) -> Iterator[str]:
    """Yield each thing in which the lock does not match the manifest."""
    for wanted in manifest.models:
        locked = lock.find(wanted.name)
        if locked is None:
            yield f"{wanted.name} is in {manifest.path.name} but not locked"
        elif locked.revision != wanted.revision:
            yield (
                f"{wanted.name} is wanted at revision {wanted.revision or 'main'}"
                f" and locked for {locked.revision or 'main'}"
            )
        elif locked.config_sha256 != wanted.config_sha256:
            yield f"the config of {wanted.name} in {manifest.path.name} has changed"
    names = {wanted.name for wanted in manifest.models}
    for locked in lock.models:
        if locked.name not in names:
            yield f"{locked.name} is locked but not in {manifest.path.name}"
    if lock.engine is not None and not allows(manifest.engine, lock.engine):
        yield f"{PACKAGE} {lock.engine} is locked and {manifest.engine} wanted"


def find_engine_drift(manifest: Manifest, lock: Lock, installed: str | None) -> Iterator[str]:
    """Yield in what the installed engine differs from the lock, else from the manifest."""
    wanted = wanted_engine(manifest, lock)
    if wanted is None or (installed is not None and allows(wanted, installed)):
        return
    is_there = f"{installed} is installed" if installed is not None else "none is installed"
    yield f"{PACKAGE} {lock.engine or wanted} is wanted and {is_there}"


def wanted_engine(manifest: Manifest, lock: Lock) -> str | None:
    """Return the releases that will do: the locked one, else what the manifest says, if it does."""
    return f"=={lock.engine}" if lock.engine is not None else manifest.engine


def choose_engine(manifest: Manifest, locked: str | None, installed: str | None) -> str | None:
    """Return the release to lock: the one locked before as long as it will do, else what is here.

    None when nothing says which: no engine is installed here, or one that will not do.
    """
    if locked is not None and allows(manifest.engine, locked):
        return locked
    if manifest.engine is not None and (only := exact_version(manifest.engine)) is not None:
        return only
    if installed is not None and allows(manifest.engine, installed):
        return installed
    return None


def machine_memory(hardware: Hardware) -> int:
    """Return the bytes of main memory that a machine, or the container we are in, has in all."""
    return min(hardware.memory.total, hardware.memory.limit or hardware.memory.total)


def find_unmet(demands: Demands, hardware: Hardware) -> Iterator[str]:
    """Yield what a machine lacks of what a manifest demands."""
    memory = machine_memory(hardware)
    if demands.memory is not None and memory < demands.memory:
        yield f"it has {format_size(memory)} of memory, {format_size(demands.memory)} are demanded"
    kinds = sorted({accelerator.kind for accelerator in hardware.accelerators})
    if demands.accelerator is not None and demands.accelerator not in kinds:
        yield f"it has {', '.join(kinds) or 'no GPU'}, {demands.accelerator} is demanded"
