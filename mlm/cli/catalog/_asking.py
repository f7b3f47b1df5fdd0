"""Asks the hub about many repositories, a few at a time."""

import threading
from collections.abc import Iterable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from mlm.errors import MlmError

if TYPE_CHECKING:
    from mlm.store.hub import Hub
    from mlm.store.types import RepoFiles

_AT_ONCE = 8  # more would only meet the hub's rate limit sooner


def ask_about(hub: "Hub", repo_ids: Iterable[str]) -> "dict[str, RepoFiles | MlmError]":
    """Return what each repository holds at its main branch, or why the hub does not say."""
    waiting: SimpleQueue[str] = SimpleQueue()
    for repo_id in repo_ids:
        waiting.put(repo_id)
    found: dict[str, RepoFiles | MlmError] = {}

    def work() -> None:
        while True:
            try:
                repo_id = waiting.get_nowait()
            except Empty:
                return
            try:
                found[repo_id] = hub.resolve(repo_id)
            except MlmError as error:
                found[repo_id] = error

    # Daemons, so that Ctrl-C need not wait for a hub that does not answer.
    workers = [threading.Thread(target=work, daemon=True) for _ in range(_AT_ONCE)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return found
