"""What uploaders do in ways of their own that a file's size shows, told by name and repository.

The factors are medians of what such files take to what the plain quantization would, over all that
the catalog of AtomicBot-ai/atomic-chat-model-catalog (2026-08-22) lists of unsloth and bartowski
and whose shape is known: 5 to 60 models each, none of them one that
scripts/check_size_predictions.py judges. Nine of ten are within the spread.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlm.planning.quantize import is_known_quant

if TYPE_CHECKING:
    from mlm.catalog.types import Architecture


@dataclass(frozen=True, slots=True)
class Habit:
    """How a file differs from what llama-quantize makes of a model by default."""

    quant: str  # the file type of llama-quantize that is meant
    table_type: str | None = None  # of the tables of tokens
    factor: float = 1.0  # on the size, for what nobody tells tensor by tensor
    spread: float | None = None  # share by which it may be off; None: as always
    has_both_tables: bool = False  # the output is stored, though equal to the table of tokens
    has_draft_head: bool = False
    is_of_2023: bool = False  # by the rules of then


# bartowski keeps the tables of tokens at Q8_0.
_LARGE = {
    "Q2_K_L": "Q2_K", "Q3_K_XL": "Q3_K_L", "Q4_K_L": "Q4_K_M", "Q5_K_L": "Q5_K_M",
    "Q6_K_L": "Q6_K",
}  # fmt: skip
# unsloth chooses types tensor by tensor (UD-): the plain quantization, the type of the tables, and
# the factor for dense models and for mixtures of experts.
_DYNAMIC: dict[str, tuple[str, str | None, float, float]] = {
    "Q8_K_XL": ("Q8_0", "BF16", 1.095, 1.08), "Q6_K_XL": ("Q6_K", "Q8_0", 1.065, 1.04),
    "Q5_K_XL": ("Q5_K_M", None, 1.00, 1.00), "Q4_K_XL": ("Q4_K_M", None, 1.02, 0.955),
    "Q3_K_XL": ("Q3_K_M", None, 1.03, 0.94), "Q2_K_XL": ("Q2_K", None, 1.035, 1.03),
    "Q5_K_M": ("Q5_K_M", None, 1.045, 1.045), "Q3_K_M": ("Q3_K_M", None, 0.945, 0.945),
    "IQ4_NL": ("IQ4_NL", None, 0.87, 0.87), "IQ4_XS": ("IQ4_XS", None, 0.905, 0.905),
    "IQ3_S": ("IQ3_S", None, 0.87, 0.87), "IQ3_XXS": ("IQ3_XXS", None, 1.015, 1.06),
    "IQ2_M": ("IQ2_M", None, 1.02, 1.04), "IQ2_XXS": ("IQ2_XXS", None, 1.03, 1.23),
    "IQ1_M": ("IQ1_M", None, 1.045, 1.33), "IQ1_S": ("IQ1_S", None, 1.055, 1.37),
    "TQ1_0": ("TQ1_0", None, 1.18, 1.18), "MXFP4": ("MXFP4_MOE", None, 1.0, 1.0),
}  # fmt: skip
_OTHERS = (1.015, 1.015)
_DYNAMIC_SPREAD, _MIXTURE_SPREAD = 0.07, 0.15
_SPELLINGS = {"FP16": "F16", "FP32": "F32", "MXFP4": "MXFP4_MOE"}
# The draft heads of these were published with them; unsloth has them in repositories of their own,
# called MTP.
_WITH_DRAFT_HEAD = frozenset(("qwen35", "qwen35moe"))
# Here the original files hold the table twice, so everybody's do who does not take it out: unsloth
# and Qwen. Of Qwen2.5, Qwen's own files have it twice where the originals do not.
_TWICE_IN_ORIGINAL = frozenset(("Qwen/Qwen3-0.6B", "Qwen/Qwen3-1.7B"))
# bartowski gives attention and states of hybrid Qwen more bits: three models of 27 billion.
_HYBRID_FACTOR, _HYBRID_SPREAD = 1.06, 0.06
_WIDE = frozenset(("Q8_0", "F16", "BF16", "F32"))


def read_habit(
    quant: str, facts: "Architecture", repo_id: str = "", base_repo: str | None = None
) -> Habit | None:
    """Return what a file of this name holds; None where the name of the quantization says nothing.

    Without ``repo_id`` nothing is assumed of who made it.
    """
    habit = _read_name(quant.upper(), is_mixture=bool(facts.n_expert))
    if not is_known_quant(habit.quant):
        return None
    uploader, _, name = repo_id.partition("/")
    if uploader == "bartowski" and facts.name == "qwen35" and habit.quant not in _WIDE:
        habit = replace(habit, factor=_HYBRID_FACTOR, spread=_HYBRID_SPREAD)
    return replace(
        habit,
        has_both_tables=_has_both_tables(uploader, facts, base_repo),
        has_draft_head=_has_draft_head(uploader, name, facts),
        is_of_2023=uploader == "TheBloke",
    )


def _has_both_tables(uploader: str, facts: "Architecture", base_repo: str | None) -> bool:
    if uploader == "Qwen":
        return facts.name == "qwen2"
    return base_repo in _TWICE_IN_ORIGINAL and uploader not in ("", "unsloth")


def _has_draft_head(uploader: str, name: str, facts: "Architecture") -> bool:
    if facts.name not in _WITH_DRAFT_HEAD:
        return False
    return "MTP" in name if uploader == "unsloth" else bool(uploader)


def _read_name(quant: str, *, is_mixture: bool) -> Habit:
    if quant.startswith("UD-"):
        name = quant.removeprefix("UD-")
        plain, table_type, dense, mixture = _DYNAMIC.get(name, (name, None, *_OTHERS))
        factor = mixture if is_mixture else dense
        spread = _MIXTURE_SPREAD if is_mixture else _DYNAMIC_SPREAD
        return Habit(plain, table_type, factor=factor, spread=spread)
    name = quant.removeprefix("I1-")
    if name in _LARGE:
        return Habit(_LARGE[name], "Q8_0")
    return Habit(_SPELLINGS.get(name, name))
