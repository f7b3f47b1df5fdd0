"""Where pictures stand in a chat: marked in its text, while a template makes a prompt of it."""

import re
import secrets
from collections.abc import Sequence
from typing import Any


class Marks:
    """Takes the pictures out of messages, and finds their places again in the rendered text.

    The marks have a number that nobody can guess, so that no text passes for one.
    """

    def __init__(self) -> None:
        self._nonce = secrets.token_hex(8)
        self.files: list[bytes] = []

    def put(self, messages: Sequence[dict[str, object]]) -> list[dict[str, object]]:
        """Return the messages, those with pictures as texts with marks; the bytes are in ``files``.

        A line break stands between two texts, but none beside a picture, as in llama.cpp's server.
        """
        return [
            {**message, "content": self._mark(content)}
            if isinstance(content := message.get("content"), list)
            and any(map(_is_picture, content))
            else message
            for message in messages
        ]

    def split(self, text: str) -> list[str | int]:
        """Return the text between the pictures, and the number of each, in their order.

        Raises:
            ValueError: the template has dropped a picture, or shows one twice.
        """
        pieces: list[str | int] = []
        for n, piece in enumerate(re.split(rf"<picture {self._nonce} (\d+)>", text)):
            pieces.append(int(piece) if n % 2 else piece)
        shown = sorted(piece for piece in pieces if isinstance(piece, int))
        if shown != list(range(len(self.files))):
            raise ValueError("the model's chat template has no place for these pictures")
        return [piece for piece in pieces if piece != ""]

    def _mark(self, parts: list[Any]) -> object:
        text, is_beside_picture = "", True
        for part in parts:
            if _is_picture(part):
                text += f"<picture {self._nonce} {len(self.files)}>"
                self.files.append(part["data"])
                is_beside_picture = True
                continue
            if not isinstance(part, dict) or not isinstance(part.get("text"), str):
                return parts  # which is refused later, like all that is neither
            text += part["text"] if is_beside_picture else "\n" + part["text"]
            is_beside_picture = False
        return text


def _is_picture(part: object) -> bool:
    return isinstance(part, dict) and isinstance(part.get("data"), bytes)
