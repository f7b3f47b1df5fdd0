"""``/v1/rerank``: how well each of some documents answers a query."""

from collections.abc import Iterator
from typing import Any

import msgspec

from mlm.server.vector_schema import VectorRequest
from mlm.server.vectors import Computed, VectorEndpoint, floats


class RerankEndpoint(VectorEndpoint):
    """Reranking as Jina and Cohere have it, and llama.cpp's server after them."""

    def _pieces(self, request: VectorRequest, computed: Computed) -> Iterator[bytes]:
        scores = [floats(row)[0] for row in computed.rows]
        best = sorted(range(len(scores)), key=lambda index: -scores[index])[: request.top_n]
        document = {
            "object": "list",
            "model": request.model,
            "results": [_result(request, index, scores[index]) for index in best],
            "usage": computed.usage,
            "mlm": computed.truth,
        }
        yield msgspec.json.encode(document)


def _result(request: VectorRequest, index: int, score: float) -> dict[str, Any]:
    result: dict[str, Any] = {"index": index, "relevance_score": score}
    if request.shows_documents:
        result["document"] = {"text": request.embed.inputs[index]}
    return result
