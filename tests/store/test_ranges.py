"""Which bytes there are, whatever the order in which they came."""

from hypothesis import given
from hypothesis import strategies as st

from mlm.store.ranges import Ranges

SIZE = 60
RANGE = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE))


@given(st.lists(RANGE, max_size=12), st.integers(0, SIZE))
def test_it_is_a_set_of_bytes(added: list[tuple[int, int]], place: int):
    ranges = Ranges(added)
    there = {byte for start, stop in added for byte in range(start, stop)}
    assert {byte for start, stop in ranges for byte in range(start, stop)} == there
    assert ranges.total == len(there)
    missing = {byte for start, stop in ranges.gaps(SIZE) for byte in range(start, stop)}
    assert missing == set(range(SIZE)) - there
    cut = {byte for start, stop in ranges.cut(place) for byte in range(start, stop)}
    assert cut == {byte for byte in there if byte < place}
    end = ranges.end_from(place)
    assert set(range(place, end)) <= there and end not in there


def test_ranges_that_touch_become_one():
    assert list(Ranges([(0, 5), (10, 15), (5, 10)])) == [(0, 15)]
