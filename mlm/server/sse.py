"""Server-sent events, as OpenAI's streams use them."""

import msgspec

from mlm.server.errors import ApiError

PING = b": ping\n\n"  # a comment, which clients skip
DONE = b"data: [DONE]\n\n"
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),  # nginx would hold tokens back
]


def encode_event(document: object) -> bytes:
    """Return one event."""
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


def encode_error(error: ApiError) -> bytes:
    """Return the event that ends a stream which failed; no ``[DONE]`` follows it."""
    return b"event: error\ndata: " + error.body + b"\n\n"
