"""What the catalog knows of a model. Sizes are bytes; what is not known is None."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

UseCase = Literal["chat", "code", "reasoning", "embedding", "vision"]


@dataclass(frozen=True, slots=True)
class Score:
    """One published benchmark result of the original weights."""

    benchmark: str
    value: float
    unit: str
    source: str


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of a set that makes up a model together."""

    filename: str
    size_bytes: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class SideFile:
    """A file that belongs to a model but is none of its own: a projector."""

    repo_id: str
    revision: str  # as in `Quant`
    filename: str
    size_bytes: int
    size_exact: bool
    sha256: str | None
    sha256_verified: bool
    source: str


@dataclass(frozen=True, slots=True)
class Quant:
    """One file (or set of shards) of a model at one quantization."""

    quant: str  # Q4_K_M
    repo_id: str
    revision: str  # a commit where one is known, else "main"
    filename: str  # of the first shard, as the hub has it
    size_bytes: int  # all shards together; see size_exact
    size_exact: bool
    sha256: str | None  # of a single-file quant
    sha256_verified: bool  # two independent sources agree, or the hub's own object id proves it
    source: str  # where size and sha256 come from
    n_files: int = 1
    shards: tuple[Shard, ...] = ()  # all of them in order, where more than their number is known


@dataclass(frozen=True, slots=True)
class Pin:
    """What the catalog promises of one file on the hub."""

    repo_id: str
    revision: str
    filename: str
    sha256: str | None
    sha256_verified: bool


@dataclass(frozen=True, slots=True)
class Architecture:
    """The shape of a model, as far as a header-less estimate needs it."""

    name: str  # llama.cpp's name: llama, qwen2, gemma2, nomic-bert …
    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    head_dim: int
    n_ff: int | None
    n_vocab: int
    n_ctx_train: int
    n_expert: int | None = None
    n_expert_used: int | None = None
    sliding_window: int | None = None
    n_layer_attention: int | None = None  # hybrid models: layers whose KV grows with the context


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One model. ``model_id`` is the name people type: ``qwen3-8b``."""

    model_id: str
    family: str
    name: str  # as its makers write it: Qwen3-8B
    base_repo: str | None  # the original weights on the hub
    params: int
    params_active: int  # equals ``params`` unless the model is a mixture of experts
    architecture: Architecture
    license: str
    gated: bool | None
    released: str | None  # ISO date
    use_cases: tuple[UseCase, ...]
    scores: tuple[Score, ...]
    quants: tuple[Quant, ...]  # smallest first
    source: str  # where the architecture facts come from
    bundled: bool = False  # the file comes inside mlm itself, served by the hub in `mlm.demo`
    aliases: tuple[str, ...] = ()  # other names that people may type
    quality: Mapping[UseCase, float] = field(default_factory=dict)  # 0 to 100, see catalog/README
    mmproj: tuple[SideFile, ...] = ()  # what it needs to read pictures; one per repository
    min_dimensions: int | None = None  # as few first numbers of its vectors will do alone

    @property
    def repo_ids(self) -> tuple[str, ...]:
        """The repositories that its files are in, each once."""
        quants = [quant.repo_id for quant in self.quants]
        return tuple(dict.fromkeys([*quants, *(side.repo_id for side in self.mmproj)]))

    @property
    def embeds(self) -> bool:
        """Whether it is for vectors or scores alone, not for text."""
        return self.use_cases == ("embedding",)

    def projector(self, quant: Quant) -> SideFile | None:
        """Return the projector that a download of ``quant`` brings along, if one is known."""
        own = (file for file in self.mmproj if file.repo_id == quant.repo_id)
        return next(own, None)
