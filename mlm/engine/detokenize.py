"""Bytes of tokens to text: never half a character."""

import codecs


class Utf8Stream:
    """Joins the bytes of successive tokens into whole characters.

    A character spread over tokens comes out with its last byte. Bytes that cannot become a
    character come out as U+FFFD, an unfinished one at the end too.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, piece: bytes) -> str:
        """Return the characters that ``piece`` completes."""
        return self._decoder.decode(piece)

    def flush(self) -> str:
        """Return what is left when no more bytes come."""
        return self._decoder.decode(b"", final=True)
