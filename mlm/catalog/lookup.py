"""The catalog as commands use it: entries, and how to find one by what a person typed."""

from collections.abc import Iterable
from dataclasses import dataclass

from mlm.catalog.types import CatalogEntry, Pin, Quant, SideFile
from mlm.errors import NotFoundError


class UnknownModel(NotFoundError):
    """The catalog has no model of that name."""

    code = "unknown_model"


class UnknownQuant(NotFoundError):
    """The model is known, but not at that quantization."""

    code = "unknown_quant"


@dataclass(frozen=True, slots=True)
class Catalog:
    """Every known model, by family and name."""

    entries: tuple[CatalogEntry, ...]

    def find(self, model_id: str) -> CatalogEntry:
        """Return the model that is called ``model_id`` (or has it as an alias), in any case.

        Raises:
            UnknownModel: there is none; the remedy offers the nearest name.
        """
        wanted = model_id.lower()
        for entry in self.entries:
            if entry.model_id == wanted:
                return entry
        for entry in self.entries:
            if wanted in entry.aliases:
                return entry
        near = self.nearest(wanted)
        if not near:
            raise UnknownModel(f"no model is called '{model_id}'", remedy="mlm catalog list")
        raise UnknownModel(
            f"no model is called '{model_id}'; near it: {', '.join(near)}",
            remedy=f"mlm catalog show {near[0]}",
        )

    def nearest(self, name: str) -> list[str]:
        """Return up to three names that ``name`` could have been meant to be, best first."""
        from difflib import get_close_matches  # only when something is wrong

        names = [n for entry in self.entries for n in (entry.model_id, *entry.aliases)]
        begun = sorted((n for n in names if name and n.startswith(name)), key=len)
        close = get_close_matches(name, names, n=3, cutoff=0.6)
        return list(dict.fromkeys([*close, *begun]))[:3]

    def find_quant(self, entry: CatalogEntry, quant: str) -> Quant:
        """Return ``entry`` at ``quant``, in any case.

        Raises:
            UnknownQuant: it is not there; the message names what is.
        """
        for candidate in entry.quants:
            if candidate.quant == quant.upper():
                return candidate
        there = [candidate.quant for candidate in entry.quants]
        best = _nearest_quant(quant, there)
        raise UnknownQuant(
            f"{entry.model_id} is not in the catalog at {quant}; there is {', '.join(there)}",
            remedy=f"use {entry.model_id}:{best}",
        )

    def find_projector(self, repo_id: str) -> SideFile | None:
        """Return the projector that a download from ``repo_id`` brings along, if one is known."""
        files = (file for entry in self.entries for file in entry.mmproj)
        return next((file for file in files if file.repo_id == repo_id), None)

    def pin(self, repo_id: str, filename: str) -> Pin | None:
        """Return what the catalog promises of a file on the hub, if it knows the file."""
        for pin in self._pins():
            if pin.filename == filename and pin.repo_id == repo_id:
                return pin
        return None

    def _pins(self) -> Iterable[Pin]:
        for entry in self.entries:
            files: list[Quant | SideFile] = [q for q in entry.quants if not q.shards]
            for file in [*files, *entry.mmproj]:
                promised = file.sha256, file.sha256_verified
                yield Pin(file.repo_id, file.revision, file.filename, *promised)
            for quant in entry.quants:
                for shard in quant.shards:
                    yield Pin(quant.repo_id, quant.revision, shard.filename, shard.sha256, False)


def _nearest_quant(quant: str, there: list[str]) -> str:
    from difflib import get_close_matches  # only when something is wrong

    near = get_close_matches(quant.upper(), there, n=1, cutoff=0.5)
    return near[0] if near else "Q4_K_M" if "Q4_K_M" in there else there[-1]
