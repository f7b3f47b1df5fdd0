"""Why this quantization of a model, and why not the next bigger one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlm.catalog.lookup import Catalog
    from mlm.catalog.types import CatalogEntry, Quant
    from mlm.cli._model import Subject
    from mlm.hardware.types import Hardware
    from mlm.planning.recommendation import Recommendation, Rejection


@dataclass(frozen=True, slots=True)
class Choice:
    """A model of the catalog, the quantization that is asked about, and what all come to here."""

    entry: "CatalogEntry"
    quant: "Quant"
    recommended: "Quant"
    results: "tuple[Recommendation | Rejection, ...]"  # the largest first
    behind: "Mapping[str | None, str]"  # quantization -> why it is not the recommended one

    def fields(self) -> dict[str, Any]:
        """Return what ``mlm.why/1`` says of it."""
        from mlm.cli._planned import interval_fields
        from mlm.planning.recommendation import Recommendation

        sizes = {quant.quant: quant.size_bytes for quant in self.entry.quants}
        rows = []
        for result in self.results:
            name = result.quant.quant if isinstance(result, Recommendation) else result.quant
            row: dict[str, Any] = {"quant": name, "size_bytes": sizes[str(name)]}
            if isinstance(result, Recommendation):
                row |= {
                    "memory_bytes": result.memory_bytes,
                    "decode_tps": interval_fields(result.decode),
                    "score": round(result.score, 2),
                }
            else:
                row |= dict.fromkeys(("memory_bytes", "decode_tps", "score"))
            rows.append({**row, "reason": self.behind.get(name)})
        return {
            "model": self.entry.model_id,
            "quant": self.quant.quant,
            "recommended": self.recommended.quant,
            "reasons": self.reasons(),
            "alternatives": rows,
        }

    def reasons(self) -> list[str]:
        """Return the answers in words."""
        found = {_name(result): result for result in self.results}
        best, current = found[self.recommended.quant], found[self.quant.quant]
        words = [self._describe(current, "")]
        if self.quant.quant != self.recommended.quant:
            words.append(self._describe(best, "recommended here, "))
        elif len(self.results) > 1:
            words[0] += f"; no other of {len(self.results)} does better here"
        bigger = [q for q in self.entry.quants if q.size_bytes > self.quant.size_bytes]
        if not bigger:
            words.append("there is no bigger one in the catalog")
        else:
            following = min(bigger, key=lambda quant: quant.size_bytes)
            if following.quant != self.recommended.quant:
                words.append(self._describe(found[following.quant], "the next bigger one, "))
        return words

    def _describe(self, result: "Recommendation | Rejection", role: str) -> str:
        """Return the arithmetic of one quantization in a line, and what speaks against it."""
        from mlm.planning.recommendation import Recommendation
        from mlm.units import format_size

        if not isinstance(result, Recommendation):
            return f"{result.quant}: {role}does not run here: {result.reason}"
        parts, against = result.parts, self.behind.get(result.quant.quant)
        return (
            f"{result.quant.quant}: {role}takes {format_size(result.memory_bytes)}, "
            f"about {result.speed.mid:.3g} tokens/s; score {result.score:.1f} = "
            f"quality {parts['quality']:.1f} less {parts['quant_loss']:.1%} x "
            f"fit {parts['fit']:.2f} x speed {parts['speed']:.2f}"
            + (f"; not chosen: {against}" if against else "")
        )

    def smaller(self) -> str | None:
        """Return the command that brings a clearly smaller quantization."""
        limit = 0.9 * self.quant.size_bytes
        less = [quant for quant in self.entry.quants if quant.size_bytes < limit]
        if not less:
            return None
        largest = max(less, key=lambda quant: quant.size_bytes)
        return f"mlm download {self.entry.model_id}:{largest.quant}"


def find_choice(catalog: "Catalog", subject: "Subject", hardware: "Hardware") -> Choice | None:
    """Return what the catalog has to say of a model; None if it is not in it."""
    from mlm.planning.calibration import NOTHING_KNOWN
    from mlm.planning.recommend import compete, consider
    from mlm.planning.recommendation import Wish

    found = _find_entry(catalog, subject)
    if found is None:
        return None
    entry, quant = found
    wish = Wish(entry.use_cases[0] if entry.use_cases else "chat")
    ordered = sorted(entry.quants, key=lambda each: -each.size_bytes)
    results = tuple(consider(entry, each, hardware, wish) for each in ordered)
    winner, losers = compete(entry, hardware, wish, NOTHING_KNOWN)
    recommended = winner.quant if winner else ordered[-1]
    behind = {loser.quant: loser.reason for loser in losers}
    return Choice(entry, quant, recommended, results, behind)


def _find_entry(catalog: "Catalog", subject: "Subject") -> "tuple[CatalogEntry, Quant] | None":
    """Return the entry and quantization of a subject, by its file or its name."""
    file = subject.file
    for entry in catalog.entries:
        for quant in entry.quants:
            if file is not None and file.repo_id is not None:
                is_meant = (file.repo_id, file.filename) == (quant.repo_id, quant.filename)
            else:
                names = (f"{entry.model_id}:{quant.quant}", f"{quant.repo_id}:{quant.quant}")
                is_meant = subject.ref in (*names, f"{quant.repo_id}/{quant.filename}")
            if is_meant:
                return entry, quant
    return None


def _name(result: "Recommendation | Rejection") -> str:
    quant = result.quant
    return quant if isinstance(quant, str) else quant.quant if quant is not None else ""
