"""How much of a prompt goes into one step, so that running streams keep flowing."""

# A newcomer's chunk may take this many times as long as the running streams' own step, and its step
# may take as long as this. They slow down for a while; it waits for its first token longer than
# alone, as every chunk is a pass over the weights. 1,000 tokens beside four streams of a 0.5B model
# on two cores took 1.8 times as long in chunks of 32 as in one piece, 1.3 times in chunks of 64,
# 1.1 times in chunks of 96, which half a second is too short for.
CHUNK_PER_DECODE = 10.0
STEP_LIMIT_S = 1.0
STRETCH = 1.25  # times as long, a chunk may take that ends a prompt: one more would cost a pass
# What is copied between slots and main memory in one step beside running streams: one request more
# is let in when the ones before it took less.
MOVE_LIMIT_S = 0.1
FIRST_CHUNK, SMALLEST_CHUNK = 33, 9  # tokens; the first before anything has been measured
_NEWEST_WEIGHT = 0.3
# A token of a smaller piece costs more, as each piece is a pass over the weights; learning from it
# would make the next piece smaller still. So it counts for less.
_FULL_CHUNK = 64


class Pace:
    """Running averages of what steps cost on this machine at this moment."""

    def __init__(self) -> None:
        self._decode_s: dict[int, float] = {}  # a step that only decodes, by how many streams
        self.prefill_s_per_token: float | None = None

    def decode_s(self, n_decoding: int) -> float:
        """Return the seconds of a step for so many streams alone; 0.0 before anything is known."""
        known = self._decode_s
        nearest = min(known, key=lambda n: (abs(n - n_decoding), n), default=None)
        return 0.0 if nearest is None or not n_decoding else known[nearest]

    def note(self, n_prefill: int, n_decoding: int, seconds: float) -> None:
        """Learn from a step that computed ``n_prefill`` tokens of prompts."""
        if n_prefill == 0:
            self._decode_s[n_decoding] = _average(self._decode_s.get(n_decoding), seconds)
            return
        cost = max(seconds - self.decode_s(n_decoding), seconds * 0.1) / n_prefill
        weight = _NEWEST_WEIGHT * min(1.0, n_prefill / _FULL_CHUNK)
        self.prefill_s_per_token = _average(self.prefill_s_per_token, cost, weight)

    def choose_chunk(self, n_prefilling: int, n_decoding: int) -> tuple[int, int]:
        """Return how many tokens of prompts the next step may carry beside running streams; and how
        many, if a prompt ends with them.

        Where more wait for their first token than there are streams, the wait of the many counts
        for more: a small chunk for the sake of one stream would cost them all.
        """
        if not self.prefill_s_per_token:
            return FIRST_CHUNK, FIRST_CHUNK
        decode_s = self.decode_s(n_decoding)
        weight = max(1.0, n_prefilling / n_decoding)
        limit_s = STEP_LIMIT_S * weight - decode_s
        aim_s = CHUNK_PER_DECODE * decode_s * weight or limit_s
        aim, end = (
            max(SMALLEST_CHUNK, int(min(seconds, limit_s) / self.prefill_s_per_token))
            for seconds in (aim_s, aim_s * STRETCH)
        )
        return aim, end


def _average(old: float | None, new: float, weight: float = _NEWEST_WEIGHT) -> float:
    return new if old is None else old + weight * (new - old)
