"""What a server says of itself at one moment. What it does not say is None; sizes are bytes.

All texts are safe to print: `mlm.monitor.reading` lets no others in.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Percentiles:
    """How durations of one kind are spread, in milliseconds."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker has done since it loaded its model: sums that only grow."""

    clock_s: float  # its own clock, as its heartbeat and our questions do not keep step
    decode_tokens: float
    prefill_tokens: float


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model: how it is, and what its requests came to."""

    name: str
    state: str = "stopped"
    progress: float | None = None  # of its load, 0 to 1
    pinned: bool = False
    active: int = 0
    slots: int | None = None
    waiting: int = 0
    memory: int | None = None
    idle_s: float | None = None
    ttl_s: float | None = None
    trouble: str = ""
    requests: int = 0
    success_rate: float | None = None
    completion_tokens: int = 0
    reused: float | None = None  # share of all prompt tokens that were not computed
    ttft: Percentiles = field(default_factory=Percentiles)
    itl: Percentiles = field(default_factory=Percentiles)
    e2e: Percentiles = field(default_factory=Percentiles)
    work: Work | None = None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU."""

    name: str
    busy_percent: float | None
    memory_used: int | None
    memory_total: int | None
    power_w: float | None
    temperature_c: float | None


@dataclass(frozen=True, slots=True)
class Machine:
    """The server's machine, and what of it the server itself takes."""

    cpu_percent: float | None  # 100 is all cores
    cores: int | None
    memory_used: int | None
    memory_total: int | None
    server_cpu_percent: float | None  # 100 is one core
    server_memory: int | None
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True, slots=True)
class ResponseCache:
    """How often the response cache has answered."""

    answered: int
    asked: int
    hit_rate: float | None
    size: int | None


@dataclass(frozen=True, slots=True)
class Ended:
    """A request that has ended."""

    at: float  # Unix time
    model: str
    endpoint: str
    key: str  # its name, "" without one
    error: str  # "" where all went well
    status: int | None
    cache: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    ttft_ms: float | None
    e2e_ms: float | None


@dataclass(frozen=True, slots=True)
class Reading:
    """All of it."""

    version: str
    uptime_s: float | None
    machine: Machine
    models: tuple[ModelState, ...]
    cache: ResponseCache
    recent: tuple[Ended, ...]

    @property
    def requests(self) -> int:
        """All requests since the server was started."""
        return sum(model.requests for model in self.models)
