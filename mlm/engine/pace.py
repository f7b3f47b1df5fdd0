"""How much of a prompt goes into one step, so that running streams keep flowing."""

# How many times as long as the running streams' own step a newcomer's chunk takes: the most, as far
# as the step stays within STEP_LIMIT_S; and where their own step leaves little of that, the least.
# They slow down for a while; it waits for its first token longer than alone, as every chunk is a
# pass over the weights.
MOST_PER_DECODE, LEAST_PER_DECODE = 10.0, 4.0
STEP_LIMIT_S = 1.0
STRETCH = 1.25  # times as long, a chunk may take that ends a prompt: one more would cost a pass
# What is copied between slots and main memory in one step beside running streams: one request more
# is let in when the ones before it took less.
MOVE_LIMIT_S = 0.1
# What prompts that could begin wait for others, of what computing them takes; and the most.
PATIENCE, PATIENCE_LIMIT_S = 0.05, 0.1
FIRST_CHUNK, SMALLEST_CHUNK = 33, 9  # tokens; the first before anything has been measured
# How fast a better time of the past is forgotten, per step.
_FORGETTING = 1.02


class Pace:
    """What steps cost on this machine at best.

    Not on average: when other programs hold the machine up, smaller chunks help nobody, and cost
    more per token, which would make the next ones smaller still.
    """

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
            self._decode_s[n_decoding] = _best(self._decode_s.get(n_decoding), seconds)
            return
        # The streams' part may have been faster than it is known to be; that of the prompts was
        # not nothing.
        cost = max(seconds - self.decode_s(n_decoding), seconds / 2) / n_prefill
        self.prefill_s_per_token = _best(self.prefill_s_per_token, cost)

    def choose_chunk(self, n_prefilling: int, n_decoding: int) -> tuple[int, int]:
        """Return how many tokens of prompts the next step may carry beside running streams; and how
        many, if a prompt ends with them.

        Where more wait for their first token than there are streams, the wait of the many counts
        for more: a small chunk for the sake of one stream would cost them all.
        """
        if not self.prefill_s_per_token:
            return FIRST_CHUNK, FIRST_CHUNK
        decode_s = self.decode_s(n_decoding)
        aim_s = STEP_LIMIT_S - decode_s
        if decode_s:
            aim_s = max(min(aim_s, MOST_PER_DECODE * decode_s), LEAST_PER_DECODE * decode_s)
        tokens = aim_s * max(1.0, n_prefilling / n_decoding) / self.prefill_s_per_token
        return max(SMALLEST_CHUNK, int(tokens)), max(SMALLEST_CHUNK, int(tokens * STRETCH))

    def choose_patience_s(self, n_tokens: int) -> float:
        """Return the seconds that prompts of so many tokens may wait for company."""
        return min(PATIENCE_LIMIT_S, PATIENCE * n_tokens * (self.prefill_s_per_token or 0.0))


def _best(old: float | None, new: float) -> float:
    return new if old is None else min(new, old * _FORGETTING)
