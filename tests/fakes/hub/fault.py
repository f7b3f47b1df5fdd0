"""The ways in which the fake hub can misbehave."""

import random
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
    chance: float = 1.0  # … at so many of them, the same ones for the same ``seed``
    seed: int = 0
    beyond: int = 0  # only while more than so many answers of ``where`` are on their way

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)  # added, or replacing
    without: tuple[str, ...] = ()  # headers left out
    body: bytes | None = None
    repeat: int = 1  # … so many times over: a flood
    entries: int | None = None  # the listing names so many files
    hops: int = 0  # redirects before the answer; counts anew with each request that strikes

    drop_before_headers: bool = False
    drop_at: int | None = None  # close the connection before this byte
    reset: bool = False  # … with RST instead of FIN
    stall_before_headers: bool = False
    dribble: bytes = b""  # instead of the headers, again and again
    stall_at: int | None = None  # send no more from this byte on
    pace: float | None = None  # bytes per second on each connection

    flip_bit: int | None = None  # of the file
    splice: tuple[int, bytes] | None = None  # from this byte on, another file
    shorten: int = 0  # the file is so much shorter, and says so
    append: bytes = b""  # … or longer
    content_length: int | None = None  # a lie
    chunked: bool = False  # without Content-Length
    compressed: bool = False
    close_delimited: bool = False  # HTTP/1.0: the end of the connection is the end of the body
    stays_open: bool = False  # also after a lie: what is left over precedes the next answer

    ignore_range: bool = False
    ignore_if_range: bool = False
    content_range: str | None = None  # a lie
    partial_for_whole: bool = False  # 206 where 200 is due

    seen: int = field(default=0, init=False)

    def strikes(self, where: Where, path: str, busy: int) -> bool:
        """Whether this request is to go wrong; ``busy`` answers are on their way, with this one."""
        if where != self.where or self.match not in path or busy <= self.beyond:
            return False
        self.seen += 1
        rank = self.seen - self.skip
        if rank <= 0 or (self.times is not None and rank > self.times):
            return False
        return self.chance >= 1 or random.Random(f"{self.seed}/{rank}").random() < self.chance

    @property
    def corrupts(self) -> bool:
        """Whether the bytes of the file are not what they should be."""
        return bool(self.flip_bit is not None or self.splice or self.shorten or self.append)

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
