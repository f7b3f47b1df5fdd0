"""How much of a prompt goes into one step, so that running streams keep flowing."""

STEP_LIMIT_S = 0.5  # a step that carries a piece of a prompt beside running streams
# A newcomer's chunk may take this many times as long as the running streams' own step. They slow
# down for a while; it waits some 1.4 times as long for its first token as it would alone, of
# which one part is their steps and the other the passes over the weights that small chunks cost.
CHUNK_PER_DECODE = 6.0
# What is copied between slots and main memory in one step beside running streams: one request more
# is let in when the ones before it took less.
MOVE_LIMIT_S = 0.1
# Tokens that are moved in the time of one computed, at least: with a 0.5B model on two cores it is
# 300 to 500. No running average: one copy that others held up would end copying, and with it
# measuring, for good.
MOVES_PER_PREFILL = 50
FIRST_CHUNK, SMALLEST_CHUNK = 32, 8  # tokens; the first before anything has been measured
_NEWEST_WEIGHT = 0.3


class Pace:
    """Running averages of what steps cost on this machine at this moment."""

    def __init__(self) -> None:
        self.decode_s: float | None = None  # a step that only decodes
        self.prefill_s_per_token: float | None = None

    def note(self, n_prefill: int, n_decoding: int, seconds: float) -> None:
        """Learn from a step that computed ``n_prefill`` tokens of prompts."""
        if n_prefill == 0:
            self.decode_s = _average(self.decode_s, seconds)
            return
        beside = (self.decode_s or 0.0) if n_decoding else 0.0
        cost = max(seconds - beside, seconds * 0.1) / n_prefill
        self.prefill_s_per_token = _average(self.prefill_s_per_token, cost)

    def choose_chunk(self) -> int:
        """Return how many tokens of prompts the next step may carry beside running streams."""
        if not self.prefill_s_per_token:
            return FIRST_CHUNK
        decode_s = self.decode_s or 0.0
        seconds = min(CHUNK_PER_DECODE * decode_s or STEP_LIMIT_S, STEP_LIMIT_S - decode_s)
        return max(SMALLEST_CHUNK, int(seconds / self.prefill_s_per_token))


def _average(old: float | None, new: float) -> float:
    return new if old is None else old + _NEWEST_WEIGHT * (new - old)
