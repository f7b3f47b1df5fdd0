import queue
import threading

from mlm.engine.encoder import Encoder
from mlm.engine.image import Image, stand_ins


class Eyes:
    """Takes as long as it is told to."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.goes_on = threading.Event()

    def encode(self, image: Image) -> object:
        assert self.goes_on.wait(20)
        self.seen.append(image.source)
        if image.source == "broken":
            raise ValueError("it is too strange")
        return f"rows of {image.source}"


def picture(name: str) -> Image:
    return Image(stand_ins(name.encode(), 4), 4, True, name, is_asked_for=True)


def test_one_after_the_other_is_encoded_and_what_is_given_up_is_not():
    eyes, done = Eyes(), queue.SimpleQueue[Image]()
    encoder = Encoder(eyes, done.put)
    images = [picture(name) for name in ("cat", "left", "broken", "dog")]
    for image in images:
        encoder.submit(image)
    images[1].is_asked_for = False
    eyes.goes_on.set()
    assert [done.get(timeout=20) for _ in images] == images
    assert eyes.seen == ["cat", "broken", "dog"]
    cat, left, broken, dog = images
    assert (cat.embeddings, dog.embeddings) == ("rows of cat", "rows of dog")
    assert (left.embeddings, broken.embeddings) == (None, None)
    assert broken.failure == "it is too strange"
