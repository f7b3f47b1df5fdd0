"""Where pictures stand in a chat: marked in its text, while a template makes a prompt of it."""

import re
import secrets
from collections.abc import Sequence


class Marks:
    """Takes the pictures out of messages, and finds their places again in the rendered text.

    The marks have a number that nobody can guess, so that no text passes for one.
    """

    def __init__(self) -> None:
        self._nonce = secrets.token_hex(8)
        self.files: list[bytes] = []

    def put(self, messages: Sequence[dict[str, object]]) -> list[dict[str, object]]:
        """Return the messages with a mark for each picture; the bytes are in ``files`` now."""
        return [
            {**message, "content": [self._mark(part) for part in content]}
            if isinstance(content := message.get("content"), list)
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

    def _mark(self, part: object) -> object:
        if not isinstance(part, dict) or not isinstance(part.get("data"), bytes):
            return part
        self.files.append(part["data"])
        return {"type": "text", "text": f"<picture {self._nonce} {len(self.files) - 1}>"}
