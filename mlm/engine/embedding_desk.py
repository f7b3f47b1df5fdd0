"""Where vectors are asked for: turns an `Embed` into an `EmbedRequest` that fits, or refuses."""

from collections.abc import Callable

from mlm.engine.desk import Desk, Refusal
from mlm.engine.embedder import EmbedRequest
from mlm.engine.llama.embedding import EmbeddingContext, rerank_prompt
from mlm.engine.llama.model import Model
from mlm.engine.messages import Accepted, Cancel, Embed, Message

# A word without spaces can be a single unknown token, however long it is; but counting the tokens
# of what is longer than this would hold up everybody else.
_FAR_TOO_LONG = 8


class EmbeddingDesk(Desk[Embed, EmbedRequest]):
    """The desk of a model that makes vectors or scores."""

    takes = Embed
    misplaced = "this model makes embeddings, not text"

    def __init__(
        self,
        model: Model,
        context: EmbeddingContext,
        send: Callable[[Message], None],
        hand_on: Callable[[EmbedRequest | Cancel], None],
    ) -> None:
        super().__init__(model.vocabulary, send, hand_on)
        self._context = context
        self._judge = rerank_prompt(model)
        longest = model.vocabulary.longest_piece_bytes()
        self._max_bytes = _FAR_TOO_LONG * context.n_ctx_slot * longest

    def _announce(self, request: EmbedRequest, asked: Embed) -> None:
        self._send(Accepted(request.request_id, request.prompt_tokens))

    def _prepare(self, asked: Embed, received_s: float) -> EmbedRequest:
        self._check_purpose(asked)
        param = "input" if asked.query is None else "documents"
        if not asked.inputs:
            raise Refusal("invalid_request_error", f"'{param}' is empty", param=param)
        inputs = []
        for index, given in enumerate(asked.inputs):
            place = param if len(asked.inputs) == 1 else f"{param}[{index}]"
            tokens = self._read(given, asked.query, place)
            self._check_length(len(tokens), place)
            inputs.append(tokens)
        return EmbedRequest(
            asked.request_id, inputs, dimensions=asked.dimensions, received_s=received_s
        )

    def _check_purpose(self, asked: Embed) -> None:
        context = self._context
        if not context.pools:
            raise Refusal(
                "invalid_request_error",
                "the file does not say how one vector is drawn from those of all tokens (no "
                "pooling_type in its header); the model's config can: pooling mean, cls or last",
                param="model",
            )
        if (asked.query is None) == context.ranks:
            does = (
                "scores documents: use /v1/rerank"
                if context.ranks
                else ("makes vectors, no scores: use /v1/embeddings")
            )
            raise Refusal("invalid_request_error", f"this model {does}", param="model")
        wanted, least, width = asked.dimensions, asked.min_dimensions, context.width
        if wanted in (None, width) or (least is not None and least <= wanted <= width):
            return
        known = (
            f"from {least} to {width}"
            if least is not None
            else (f"{width} only: it is not known to be trained for fewer")
        )
        reason = f"'dimensions' is {wanted}; of this model it can be {known}"
        raise Refusal("invalid_request_error", reason, param="dimensions")

    def _read(self, given: str | list[str | int], query: str | None, place: str) -> list[int]:
        if isinstance(given, str):
            size = len(given.encode()) + len((query or "").encode())
            if size > self._max_bytes:
                self._check_length(
                    size * self._context.n_ctx_slot // (self._max_bytes // _FAR_TOO_LONG), place
                )
            return self._vocabulary.tokenize(given) if query is None else self._judge(query, given)
        tokens: list[int] = []
        for part in given:
            if isinstance(part, str):
                tokens += self._vocabulary.tokenize(part, add_special=not tokens)
            elif 0 <= part < self._vocabulary.n_tokens:
                tokens.append(part)
            else:
                reason = f"'{place}': {part} is no token; there are {self._vocabulary.n_tokens}"
                raise Refusal("invalid_request_error", reason, param=place)
        return tokens

    def _check_length(self, n_tokens: int, place: str) -> None:
        available = self._context.n_ctx_slot
        if not n_tokens:
            raise Refusal("invalid_request_error", f"'{place}' is empty", param=place)
        if n_tokens > available:
            raise Refusal(
                "context_length_exceeded",
                f"'{place}' has {n_tokens} tokens, which exceeds the available context size of "
                f"{available} tokens",
                needed=n_tokens,
                available=available,
                param=place,
            )
