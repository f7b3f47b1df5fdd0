"""Encodes pictures beside the computation of everything else.

A large one takes seconds on a CPU. Meanwhile running answers go on, more slowly.
"""

import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol

from mlm.engine.image import Image


class Encoding(Protocol):
    """What is asked of `mlm.engine.llama.vision.Eyes`."""

    def encode(self, image: Image) -> Any:
        """Return the rows of numbers that stand for an image.

        Raises:
            ValueError: there are none.
        """


class Encoder:
    """A thread that encodes one image after another; ``done`` gets each when it is."""

    def __init__(self, eyes: Encoding, done: Callable[[Image], None]) -> None:
        self._eyes = eyes
        self._done = done
        self._asked: queue.SimpleQueue[Image] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="encoder", daemon=True).start()

    def submit(self, image: Image) -> None:
        """Begin to encode an image, or queue it behind others."""
        self._asked.put(image)

    def _work(self) -> None:
        while True:
            image = self._asked.get()
            if image.is_asked_for:  # not given up meanwhile
                try:
                    image.embeddings = self._eyes.encode(image)
                except ValueError as error:
                    image.failure = str(error)
            self._done(image)
