"""Frames: a 4-byte little-endian length, then that many bytes of msgpack.

The gateway is fed with what arrives, the worker reads from a blocking file; both see the same
bytes. The two ends are one installation of mlm, so a frame that does not parse is a bug or a
broken peer, never user input.
"""

import struct
import threading
from collections.abc import Iterator
from typing import BinaryIO, Generic, Protocol, TypeVar

import msgspec

LENGTH = struct.Struct("<I")
MAX_FRAME_BYTES = 64 * 1024**2  # a request body is at most 8 MiB; far more is a broken stream

T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder()


class FrameError(Exception):
    """The bytes are not a frame: too long, cut short, or not the expected message."""


class ByteSink(Protocol):
    """Where a blocking writer puts bytes; a socket is one."""

    def sendall(self, data: bytes, /) -> None:
        """Write everything, waiting as long as it takes."""


def encode_frame(message: msgspec.Struct) -> bytes:
    """Return ``message`` as the bytes of one frame."""
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {len(body)} bytes is over the limit")
    return LENGTH.pack(len(body)) + body


class FrameDecoder(Generic[T]):
    """Reads frames that hold one of the messages in ``types`` (a union of structs)."""

    def __init__(self, types: object) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(types)
        self._rest = bytearray()

    def read(self, file: BinaryIO) -> T | None:
        """Return the next message, waiting for it; None at the end of the stream."""
        head = file.read(LENGTH.size)
        if not head:
            return None
        if len(head) < LENGTH.size:
            raise FrameError("the stream ends inside a frame")
        length = _checked_length(head)
        body = file.read(length)
        if len(body) < length:
            raise FrameError("the stream ends inside a frame")
        return self._decode(body)

    def feed(self, data: bytes) -> Iterator[T]:
        """Yield the messages that are complete with ``data``, the next bytes of a stream."""
        self._rest += data
        end = 0
        try:
            while (begin := end + LENGTH.size) <= len(self._rest):
                length = _checked_length(self._rest, end)
                if begin + length > len(self._rest):
                    return
                end = begin + length
                yield self._decode(self._rest[begin:end])
        finally:
            del self._rest[:end]

    def close(self) -> None:
        """Note the end of the stream that was fed.

        Raises:
            FrameError: it ends inside a frame.
        """
        if self._rest:
            raise FrameError("the stream ends inside a frame")

    def _decode(self, body: bytes | bytearray) -> T:
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FrameError(f"a frame cannot be read: {error}") from None


class FrameWriter:
    """Writes whole frames from several threads, one at a time."""

    def __init__(self, sink: ByteSink) -> None:
        self._sink = sink
        self._lock = threading.Lock()

    def send(self, message: msgspec.Struct) -> None:
        """Write one message; waits while the reader is slow, so nothing piles up here."""
        frame = encode_frame(message)
        with self._lock:
            self._sink.sendall(frame)


def _checked_length(data: bytes | bytearray, at: int = 0) -> int:
    (length,) = LENGTH.unpack_from(data, at)
    if length > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {length} bytes is over the limit")
    return int(length)
