"""From what a person wants served to what the server needs to know of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mlm.cli._model import known_entry
from mlm.cli._projector import read_shape
from mlm.cli._runtime_config import choose_config
from mlm.errors import DoesNotFitError, NotFoundError
from mlm.planning.overrides import Overrides
from mlm.planning.types import MemoryPlan, RuntimeConfig
from mlm.store.listener import Listener
from mlm.store.ref import LocalRef, parse_ref
from mlm.store.store import Store
from mlm.units import format_size

if TYPE_CHECKING:
    from mlm.hardware.types import Hardware
    from mlm.planning.types import ModelShape
    from mlm.server.model import Installed, ServedModel
    from mlm.server.shelf import Shelf
    from mlm.settings import Settings


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans models for the machine as it was before any of them was loaded, under the memory limit
    that it has by now."""

    settings: "Settings"
    hardware: "Hardware"
    overrides: Overrides
    config_file: Path | None = None  # instead of the model's own in MLM_HOME/config
    listener: Listener = field(default_factory=Listener)  # of a file that has to be hashed first

    def plan(self, ref: str) -> "ServedModel":
        """Return the model that ``ref`` names, with its runtime config and memory plan.

        Raises:
            NotFoundError: it is not installed.
            CorruptModelError: its bytes are not the promised ones.
            GGUFError: the file is not a sound model.
            ConfigError: its config file cannot be meant.
            DoesNotFitError: this machine has too little memory for it.
        """
        from mlm.hardware.memory import follow_limit, memory_limit
        from mlm.planning.memory import plan_memory
        from mlm.server.model import Premises, ServedModel
        from mlm.store.check import ensure_intact

        with Store(self.settings.home, self.settings.hub_cache) as store:
            file = store.find(ref)
            ensure_intact(store, file, self.listener)
            store.note_use(file)
            entry = known_entry(self.settings, file.model)
            shape, eyes = read_shape(store, file, entry)
            if eyes is not None:
                ensure_intact(store, eyes, self.listener)
        hardware = follow_limit(self.hardware, memory_limit())
        config = self._choose_config(file.model_id, shape, hardware)
        memory = plan_memory(shape, config, hardware)
        if memory.verdict == "does_not_fit":
            raise DoesNotFitError(
                f"{file.model_id} needs {_describe(memory)}",
                remedy=f"mlm plan {ref}, a smaller --ctx, or `mlm recommend`"
                + ("; or `vision: false` in its config" if eyes and config.sees else ""),
            )
        return ServedModel(
            model_id=file.model_id,
            path=file.path,
            sha256=file.sha256,
            config=config,
            memory=memory,
            premises=Premises(shape, hardware),
            min_dimensions=entry.min_dimensions if entry is not None else None,
            mmproj=eyes.path if eyes and config.sees else None,
            mmproj_sha256=eyes.sha256 if eyes and config.sees else None,
        )

    def _choose_config(
        self, model_id: str, shape: "ModelShape", hardware: "Hardware"
    ) -> RuntimeConfig:
        """Return the config from the model's file, where there is one, else a planned one."""
        from mlm.planning.config_file import config_path, read_config

        if self.config_file is not None:
            read_config(self.config_file)  # one that was named has to be there
        path = self.config_file or config_path(self.settings.home.config, model_id)
        return choose_config(path, shape, hardware, self.overrides)

    def find_installed(self, model_id: str) -> "ServedModel":
        """Return an installed model by a name that came from a client: never by a path.

        Raises:
            NotFoundError: there is none.
        """
        is_known = False
        if not isinstance(parse_ref(model_id), LocalRef):
            # Not by `plan`, which reads the whole catalog to say what may have been meant.
            with Store(self.settings.home, self.settings.hub_cache) as store:
                is_known = bool(store.find_all(model_id))
        if not is_known:
            raise NotFoundError(f"{model_id} is not the name of an installed model")
        return self.plan(model_id)

    def list_installed(self) -> "dict[str, Installed]":
        """Return all models on this machine, by their ids."""
        from mlm.server.model import Installed

        with Store(self.settings.home, self.settings.hub_cache) as store:
            return {
                model.model_id: Installed(model.path, bool(store.projectors(model)))
                for model in store.models()
            }


def make_shelf(
    settings: "Settings",
    refs: Sequence[str],
    overrides: Overrides,
    config_file: Path | None,
    listener: Listener,
) -> "Shelf":
    """Return what a server can be asked for, ``refs`` first; raises as `Planner.plan`."""
    from mlm.cli._machine import this_machine
    from mlm.server.shelf import Shelf

    hardware = this_machine(settings, measures=False)
    named = Planner(settings, hardware, overrides, config_file, listener)
    others = Planner(settings, hardware, Overrides())
    served = {ref: named.plan(ref) for ref in refs}
    ref_of = {model.model_id: ref for ref, model in served.items()}
    again = Planner(settings, hardware, overrides, config_file)
    return Shelf(
        list(served.values()),
        others.find_installed,
        others.list_installed,
        lambda model_id: again.plan(ref_of[model_id]),
    )


def _describe(memory: MemoryPlan) -> str:
    return " and ".join(
        f"{format_size(device.total)} of {format_size(device.available)} on {device.device}"
        for device in memory.devices
        if device.headroom < 0
    )
