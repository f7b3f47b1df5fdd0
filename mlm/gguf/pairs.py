"""The key-value part of a header."""

import struct
from array import array
from dataclasses import dataclass, field

from mlm.gguf.errors import GGUFError
from mlm.gguf.source import Window, truncated
from mlm.gguf.types import TOKENS, Value

# What is kept, and what is too much to be a model's. Real files have some dozens of keys, at most
# a few hundred; the largest vocabularies have 262,144 tokens and about twice as many merges.
MAX_PAIRS = 16_384
MAX_KEY_BYTES = 65_535  # by the GGUF specification
MAX_STRINGS = 4_000_000  # in all arrays together
MAX_TOKENS = 1_000_000
MAX_KEPT_ITEMS = 512  # of one array: llama.cpp's LLAMA_MAX_LAYERS, so per-layer arrays stay
MAX_KEPT_STRING_BYTES = 1024 * 1024
MAX_KEPT_IN_ALL = 65_536  # array items
MAX_TEXT_IN_ALL = 4 * 1024 * 1024

_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_LAYOUTS = {kind: struct.Struct("<" + letter) for kind, letter in _SCALARS.items()}
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_ARRAY_HEAD = struct.Struct("<IQ")


@dataclass(slots=True)
class Pairs:
    """The keys of a header as they are read."""

    values: dict[str, Value] = field(default_factory=dict)
    array_lengths: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)  # of every key: GGUF's number of its type
    keep: frozenset[str] = frozenset()  # arrays of a vocabulary to keep whole, however long
    _strings_left: int = MAX_STRINGS
    _items_left: int = MAX_KEPT_IN_ALL
    _text_left: int = MAX_TEXT_IN_ALL

    def read(self, window: Window) -> None:
        """Read one key and its value.

        Raises:
            GGUFError: they break GGUF's rules, or go beyond what a model can need.
        """
        key = read_name(window, "a key", MAX_KEY_BYTES)
        if not key:
            raise GGUFError("it has a key without a name")
        if key in self.kinds:
            raise GGUFError(f"it has the key {key} twice")
        (kind,) = window.unpack(_U32, key)
        self.kinds[key] = kind
        if kind == _ARRAY:
            self._read_array(window, key)
        elif kind == _STRING:
            text = self._read_text(window, key)
            if text is not None:
                self.values[key] = text
        else:
            (self.values[key],) = window.unpack(_layout(kind, key), key)

    def _read_array(self, window: Window, key: str) -> None:
        kind, count = window.unpack(_ARRAY_HEAD, key)
        self.array_lengths[key] = count
        if kind == _STRING:
            self._read_strings(window, key, count)
            return
        item = _layout(kind, key)
        if count * item.size > window.left:
            raise _no_room(key, f"{count} items")
        is_kept = key in self.keep and count <= MAX_TOKENS
        if count > MAX_KEPT_ITEMS and not is_kept:
            window.skip(count * item.size, key)
            return
        if not is_kept:
            self._keep(count)
        layout = struct.Struct(f"<{count}{_SCALARS[kind]}")
        self.values[key] = window.unpack(layout, key)

    def _read_strings(self, window: Window, key: str, count: int) -> None:
        self._strings_left -= count
        if self._strings_left < 0:
            raise GGUFError(f"{key} claims {count} strings, more than a model can have")
        if count * _U64.size > window.left:
            raise _no_room(key, f"{count} strings")
        if key == TOKENS:
            texts: list[str] | None = [] if key in self.keep else None
            _check_tokens(window, count, texts)
            if texts is not None:
                self.values[key] = tuple(texts)
        elif count > MAX_KEPT_ITEMS:
            _skip_strings(window, key, count)
        else:
            self._keep(count)
            found = [self._read_text(window, key) for _ in range(count)]
            self.values[key] = tuple(text for text in found if text is not None)

    def _read_text(self, window: Window, what: str) -> str | None:
        """Return a string, or None for one too long to be kept."""
        (length,) = window.unpack(_U64, what)
        if length > MAX_KEPT_STRING_BYTES:
            window.skip(length, what)
            return None
        self._text_left -= length
        if self._text_left < 0:
            raise GGUFError("it holds more text than any model's header")
        return window.take(length, what).decode("utf-8", "replace")

    def _keep(self, count: int) -> None:
        self._items_left -= count
        if self._items_left < 0:
            raise GGUFError("it holds more lists than any model's header")


def _no_room(key: str, claimed: str) -> GGUFError:
    return GGUFError(
        f"{key} claims {claimed}, more than the file has room for; perhaps it is cut off",
        remedy="download it again: mlm download REF --force",
    )


def read_name(window: Window, what: str, longest: int) -> str:
    """Return a string that must be valid UTF-8 of at most ``longest`` bytes."""
    (length,) = window.unpack(_U64, what)
    if length > longest:
        raise GGUFError(f"{what} claims to be {length} bytes long, at most {longest} are allowed")
    try:
        return window.take(length, what).decode()
    except UnicodeDecodeError as error:
        raise GGUFError(f"{what} is not valid text") from error


def _layout(kind: int, key: str) -> struct.Struct:
    if kind not in _LAYOUTS:
        raise GGUFError(f"{key} has the unknown type {kind}")
    return _LAYOUTS[kind]


def _skip_strings(window: Window, key: str, count: int) -> None:
    """Walk over strings. A quarter million of them are usual, so this loop knows the window."""
    unpack, size = _U64.unpack_from, _U64.size
    done = 0
    while done < count:
        window.require(size, key)
        buffer, position = window.buffer, window.position
        start, room = position, len(buffer) - size
        while done < count and position <= room:
            position += size + unpack(buffer, position)[0]
            done += 1
        window.skip(position - start, key)


def _check_tokens(window: Window, count: int, texts: list[str] | None = None) -> None:
    """Walk over the vocabulary; llama.cpp aborts the process when a token is in it twice.

    Only a hash of each token is kept, eight bytes, so that memory stays small whatever comes; its
    text too where ``texts`` asks for it.
    """
    if count > MAX_TOKENS:
        raise GGUFError(f"its vocabulary of {count} tokens is larger than any model's")
    seen = array("q")
    unpack, size, note = _U64.unpack_from, _U64.size, seen.append
    while len(seen) < count:
        window.require(size, TOKENS)
        (length,) = unpack(window.buffer, window.position)
        if length > window.left:
            raise truncated(TOKENS, window.offset + window.left)
        window.require(size + length, TOKENS)
        buffer, position = window.buffer, window.position
        end = len(buffer)
        while len(seen) < count and position + size <= end:
            (length,) = unpack(buffer, position)
            stop = position + size + length
            if stop > end:
                break
            token = buffer[position + size : stop]
            if b"\0" in token:
                token = token[: token.index(b"\0")]  # so does llama.cpp
            # An empty token gets this name in llama.cpp, so it can clash with a real one.
            note(hash(token or b"[EMPTY_%d]" % len(seen)))
            if texts is not None:
                texts.append(token.decode("utf-8", "replace"))
            position = stop
        window.position = position
    _refuse_duplicates(seen)


def _refuse_duplicates(hashes: "array[int]") -> None:
    """Raise if a number is in ``hashes`` twice; works in parts to bound the memory it takes."""
    parts = 1 + len(hashes) // 300_000
    for part in range(parts):
        mine = [h for h in hashes if h % parts == part] if parts > 1 else hashes
        if len(set(mine)) < len(mine):
            raise GGUFError(
                "its vocabulary holds the same token twice, on which llama.cpp would crash",
                remedy="use another conversion of this model",
            )
