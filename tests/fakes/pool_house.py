"""A pool with fake models, for stories of who is loaded and who waits."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from fakes.fake_gateway import FAKE_WORKER, GIB, fake_model

from mlm.engine.messages import Generate
from mlm.engine.process import Event
from mlm.engine.spawn import Launch
from mlm.server.model import ServedModel
from mlm.server.pool import Pool, PoolOptions
from mlm.server.resident import Resident
from mlm.stats.types import LoadStats


class House:
    """A pool, fake models, and what happened to them."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.loads: list[LoadStats] = []
        self.states: list[tuple[str, str]] = []
        self.when_ready: Callable[[], object] = lambda: None
        self.pool = Pool(
            PoolOptions(
                on_load=self.loads.append,
                on_change=self._note,
                **{"launch": Launch(FAKE_WORKER)} | options,
            )
        )
        self._changed = asyncio.Event()

    def model(
        self, model_id: str, *, size: int = GIB, slots: int = 4, **behaviour: Any
    ) -> ServedModel:
        """Return a model that behaves as said."""
        path = self.folder / f"{model_id}.fake"
        path.write_text(json.dumps({"diary": str(self.folder / "diary")} | behaviour))
        return fake_model(path, size=size, n_parallel=slots)

    def count_loads(self, model_id: str) -> int:
        """Return how often a model was loaded."""
        return sum(load.model == model_id and load.ok for load in self.loads)

    def started(self) -> list[str]:
        """Return the models whose load has begun, in this order."""
        return list(dict.fromkeys(model for model, state in self.states if state == "starting"))

    async def until(self, state: str, model_id: str) -> None:
        """Wait until a model is in a state."""
        while (resident := self.pool.find(model_id)) is None or resident.state != state:
            self._changed.clear()
            await self._changed.wait()

    def _note(self, resident: Resident) -> None:
        if resident.state == "ready":
            self.when_ready()
        self.states.append((resident.model.model_id, resident.state))
        self._changed.set()


def in_house(folder: Path, story: Callable[[House], Awaitable[None]], **options: Any) -> None:
    """Tell a story in a house, and tidy up."""

    async def tell() -> None:
        house = House(folder, **options)
        try:
            async with asyncio.timeout(20):
                await story(house)
        finally:
            await house.pool.close(grace_s=1)

    asyncio.run(tell())


async def ask(house: House, model: ServedModel, wish: str = "") -> str:
    """Lease, ask, and return the answer."""
    async with house.pool.lease(model) as lease:
        request = Generate(request_id=id(asyncio.current_task()), prompt=wish)
        events: list[Event] = []
        await lease.worker.answer(request, events.append)
        return "".join(getattr(event, "text", "") for event in events)


@asynccontextmanager
async def using(house: House, *models: ServedModel) -> AsyncIterator[None]:
    """Keep models busy until the block ends."""
    async with AsyncExitStack() as stack:
        for model in models:
            await stack.enter_async_context(house.pool.lease(model))
        yield
