"""Text to tokens and back."""

import ctypes
from collections.abc import Iterable

from llama_cpp import llama_cpp as C


class Vocabulary:
    """Text to tokens and back."""

    def __init__(self, handle: object) -> None:
        self.handle = handle
        self.n_tokens = int(C.llama_vocab_n_tokens(handle))
        self.adds_bos = bool(C.llama_vocab_get_add_bos(handle))
        self.bos_text = self._special_text(C.llama_vocab_bos(handle))
        self.eos_text = self._special_text(C.llama_vocab_eos(handle))
        tokens = range(self.n_tokens)
        self.end_tokens = frozenset(t for t in tokens if C.llama_vocab_is_eog(handle, t))
        self.suppressed_tokens = self._read_suppressed()
        self._pieces: dict[int, bytes] = {}

    def tokenize(
        self, text: str, *, add_special: bool = True, parse_special: bool = True
    ) -> list[int]:
        """Return the tokens of ``text``; the spelling of a special token becomes that token,
        unless ``parse_special`` is false."""
        raw = text.encode("utf-8")
        room = len(raw) + 8
        for _ in range(2):
            buffer = (C.llama_token * room)()
            count = C.llama_tokenize(
                self.handle, raw, len(raw), buffer, room, add_special, parse_special
            )
            if count >= 0:
                return list(buffer[:count])
            room = -count
        raise ValueError("the text cannot be tokenised")

    def spelling(self, token: int) -> bytes:
        """Return the bytes of ``token``, those of a control token included."""
        return self._spell(token, special=True)

    def markers(self, texts: Iterable[str]) -> dict[int, bytes]:
        """Return the spelling of those of ``texts`` that are single tokens, by token."""
        found = ((self.tokenize(text, add_special=False), text) for text in texts)
        return {tokens[0]: text.encode() for tokens, text in found if len(tokens) == 1}

    def piece(self, token: int) -> bytes:
        """Return the bytes that ``token`` adds to the text; control tokens add none."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._spell(token, special=False)
        return piece

    def longest_piece_bytes(self) -> int:
        """Return the length of the longest token, in bytes."""
        return max(len(C.llama_vocab_get_text(self.handle, t)) for t in range(self.n_tokens))

    def has_token(self, text: str) -> bool:
        """Return whether ``text`` is a single token of this vocabulary."""
        return len(self.tokenize(text, add_special=False)) == 1

    def _spell(self, token: int, *, special: bool) -> bytes:
        room = 64
        for _ in range(2):
            buffer = ctypes.create_string_buffer(room)
            count = C.llama_token_to_piece(self.handle, token, buffer, room, 0, special)
            if count >= 0:
                return buffer.raw[:count]
            room = -count
        return b""

    def _special_text(self, token: int) -> str:
        return "" if token < 0 else self._spell(token, special=True).decode("utf-8", "replace")

    def _read_suppressed(self) -> tuple[int, ...]:
        count = ctypes.c_int32(0)
        tokens = C.llama_vocab_get_suppress_tokens(self.handle, ctypes.byref(count))
        return tuple(tokens[: count.value]) if tokens else ()
