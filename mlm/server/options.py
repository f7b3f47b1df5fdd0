"""How to serve: what a person says before anything that serves is imported."""

from dataclasses import dataclass, field

from mlm.engine.spawn import LAUNCH, Launch
from mlm.server.keys import Keys

MAX_WAIT_S = 300.0  # of a request, for its model to be loaded or for a slot


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How to serve."""

    host: str = "127.0.0.1"
    port: int = 8000  # 0 = any free one
    keys: Keys = field(default_factory=Keys)
    allowed_hosts: tuple[str, ...] = ()
    max_models: int = 2
    max_queue: int = 32
    max_connections: int = 1024
    max_per_address: int = 64  # connections of one that is not this machine
    max_wait_s: float = MAX_WAIT_S
    ttl_s: float | None = None  # a model that nobody uses for so long is unloaded
    pinned: frozenset[str] = frozenset()  # ids of served models that stay in memory
    private: bool = False  # stop when stdin ends
    launch: Launch = LAUNCH
