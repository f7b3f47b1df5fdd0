"""When the tokens of an answer came."""

import pytest

from mlm.server.arrivals import Arrivals


def test_gaps_between_tokens_that_came_together_are_shared_out():
    arrivals = Arrivals()
    assert (arrivals.first_at, arrivals.n_tokens, arrivals.gaps_s()) == (None, 0, ())
    for at, n_tokens in [(1.0, 1), (1.2, 1), (1.20001, 1), (1.20002, 2), (1.3, 1)]:
        arrivals.add(at, n_tokens)
    gaps = arrivals.gaps_s()
    assert (arrivals.first_at, arrivals.n_tokens) == (1.0, 6)
    assert gaps == pytest.approx([0.05] * 4 + [0.1], rel=1e-3)
