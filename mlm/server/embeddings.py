"""``/v1/embeddings``: a vector for each text."""

import binascii
from collections.abc import Iterator

import msgspec

from mlm.server.vector_schema import VectorRequest
from mlm.server.vectors import Computed, VectorEndpoint, floats

_PIECE = 64  # vectors that are written in one go


class EmbeddingsEndpoint(VectorEndpoint):
    """OpenAI's embeddings."""

    def _pieces(self, request: VectorRequest, computed: Computed) -> Iterator[bytes]:
        rows, encode = computed.rows, msgspec.json.encode
        yield b'{"object":"list","data":['
        for start in range(0, len(rows), _PIECE):
            vectors = [
                {"object": "embedding", "index": index, "embedding": _write(row, request.encoding)}
                for index, row in enumerate(rows[start : start + _PIECE], start)
            ]
            yield (b"," if start else b"") + encode(vectors)[1:-1]
        rest = {"model": request.model, "usage": computed.usage, "mlm": computed.truth}
        yield b"]," + encode(rest)[1:]


def _write(row: bytes, encoding: str) -> str | list[float]:
    if encoding == "base64":
        return binascii.b2a_base64(row, newline=False).decode("ascii")
    return floats(row)
