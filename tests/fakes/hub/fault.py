"""The ways in which the fake hub can misbehave."""

import gzip
from dataclasses import dataclass, field
from typing import Literal

Where = Literal["api", "resolve", "cdn"]


@dataclass
class Fault:
    """One misbehaviour, for the requests that match. Offsets are in the whole file, in bytes.

    ``api`` is the JSON of the hub, ``resolve`` its ``/resolve/`` route, ``cdn`` the bytes.
    """

    where: Where = "cdn"
    match: str = ""  # part of the path
    skip: int = 0  # let so many matching requests pass first
    times: int | None = None  # then misbehave so often; None: for ever

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)  # added, or replacing
    without: tuple[str, ...] = ()  # headers left out
    body: bytes | None = None

    drop_before_headers: bool = False
    drop_at: int | None = None  # close the connection before this byte
    reset: bool = False  # … with RST instead of FIN
    stall_before_headers: bool = False
    stall_at: int | None = None  # send no more from this byte on
    pace: float | None = None  # bytes per second

    flip_bit: int | None = None  # of the file
    splice: tuple[int, bytes] | None = None  # from this byte on, another file
    shorten: int = 0  # the file is so much shorter, and says so
    append: bytes = b""  # … or longer
    content_length: int | None = None  # a lie
    chunked: bool = False  # without Content-Length
    compressed: bool = False
    close_delimited: bool = False  # HTTP/1.0: the end of the connection is the end of the body

    ignore_range: bool = False
    ignore_if_range: bool = False
    content_range: str | None = None  # a lie
    partial_for_whole: bool = False  # 206 where 200 is due

    seen: int = field(default=0, init=False)

    def strikes(self, where: Where, path: str) -> bool:
        """Whether this request is to go wrong."""
        if where != self.where or self.match not in path:
            return False
        self.seen += 1
        rank = self.seen - self.skip
        return rank > 0 and (self.times is None or rank <= self.times)

    def corrupt(self, content: bytes) -> bytes:
        """Return what the server believes the file to be."""
        if self.flip_bit is not None:
            byte, bit = divmod(self.flip_bit, 8)
            content = content[:byte] + bytes([content[byte] ^ 1 << bit]) + content[byte + 1 :]
        if self.splice is not None:
            offset, other = self.splice
            content = content[:offset] + other[offset : len(content)]
        if self.shorten:
            content = content[: -self.shorten]
        return content + self.append

    def encode(self, body: bytes) -> bytes:
        """Return the body as it goes over the wire."""
        return gzip.compress(body) if self.compressed else body
