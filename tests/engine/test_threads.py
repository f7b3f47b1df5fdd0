"""A real worker: on which CPUs its threads compute, and the others wait."""

import asyncio
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from fakes.real_worker import ask, working

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2,
    reason="threads are pinned on Linux, and one CPU needs no choice",
)


def cpus_of_threads(demo_model: Path, n_threads: int) -> Counter[frozenset[int]]:
    """Return how many threads may run on each set of CPUs, once there has been an answer."""

    async def story() -> Counter[frozenset[int]]:
        async with working(demo_model, n_threads=n_threads, n_threads_batch=n_threads) as worker:
            await ask(worker, "hello", max_tokens=2)
            threads = Path(f"/proc/{worker.pid}/task").iterdir()
            return Counter(frozenset(os.sched_getaffinity(int(one.name))) for one in threads)

    return asyncio.run(story())


def test_with_a_thread_for_each_cpu_none_shares_its_cpu_and_only_those_are_pinned(demo_model: Path):
    everywhere = frozenset(os.sched_getaffinity(0))
    found = cpus_of_threads(demo_model, len(everywhere))
    assert found.pop(everywhere) > 0  # they wait for requests
    assert found == {frozenset([cpu]): 1 for cpu in everywhere}


def test_with_fewer_threads_than_cpus_the_kernel_chooses(demo_model: Path):
    everywhere = frozenset(os.sched_getaffinity(0))
    assert set(cpus_of_threads(demo_model, len(everywhere) - 1)) == {everywhere}
