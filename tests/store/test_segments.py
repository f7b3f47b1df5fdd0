"""Who fetches what of a file."""

from mlm.store.ranges import Ranges
from mlm.store.segments import AHEAD_BYTES, SEGMENT_BYTES, Segment, Segments
from mlm.units import MIB

SIZE = 100 * MIB


class File:
    """What is there of a file, and how far it is hashed."""

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self.there = Ranges()
        self.hashed = 0
        self.segments = Segments(lambda: list(self.there.gaps(self.size)), lambda: self.hashed)

    def take(self, *, alone: bool = False) -> tuple[int, int] | None:
        segment = self.segments.take(alone=alone)
        return None if segment is None else (segment.start, segment.stop)


def test_who_is_alone_gets_everything_in_one_request():
    assert File().take(alone=True) == (0, SIZE)


def test_others_get_pieces_in_order():
    file = File()
    assert file.take() == (0, SEGMENT_BYTES)
    assert file.take() == (SEGMENT_BYTES, 2 * SEGMENT_BYTES)


def test_what_is_there_is_not_fetched_again():
    file = File()
    file.there.add(0, 10)
    file.there.add(5 * MIB, 90 * MIB)
    assert file.take() == (10, 5 * MIB)
    assert file.take() == (90 * MIB, SIZE)


def test_the_first_one_leaves_the_rest_to_those_who_come_later():
    file = File()
    first = file.segments.take(alone=True)
    assert isinstance(first, Segment)
    first.start = 20 * MIB  # this has been written meanwhile
    file.there.add(0, 20 * MIB)
    file.segments.share()
    assert first.stop == 20 * MIB + SEGMENT_BYTES
    assert file.take() == (first.stop, first.stop + SEGMENT_BYTES)


def test_when_all_is_handed_out_the_slowest_shares_its_rest():
    file = File(20 * MIB)
    first, second = file.segments.take(alone=False), file.segments.take(alone=False)
    assert first and second
    assert file.take() == (8 * MIB, 16 * MIB)
    assert first.stop == 8 * MIB


def test_a_small_rest_is_not_worth_another_request():
    file = File(MIB)
    file.take()
    assert file.take() is None


def test_what_somebody_gave_up_is_handed_out_again():
    file = File()
    first = file.segments.take(alone=False)
    assert first
    file.take()
    first.start = 3 * MIB
    file.there.add(0, 3 * MIB)
    file.segments.give_back(first)
    assert file.take() == (3 * MIB, SEGMENT_BYTES)


def test_nobody_runs_far_ahead_of_the_hash():
    file = File(4 * AHEAD_BYTES)
    straggler = file.segments.take(alone=False)
    assert straggler
    file.there.add(SEGMENT_BYTES, AHEAD_BYTES)
    assert file.take() == (SEGMENT_BYTES // 2, SEGMENT_BYTES), "the straggler is helped instead"
    file.hashed = AHEAD_BYTES
    assert file.take() == (AHEAD_BYTES, AHEAD_BYTES + SEGMENT_BYTES)


def test_who_stays_alone_goes_on_with_what_it_had_asked_for():
    file = File()
    first = file.segments.take(alone=True)
    assert first
    file.segments.share()
    file.segments.rejoin()
    assert first.stop == SIZE


def test_but_not_into_what_is_there():
    file = File()
    first = file.segments.take(alone=True)
    assert first
    file.segments.share()
    file.there.add(50 * MIB, 60 * MIB)
    file.segments.rejoin()
    assert first.stop == 50 * MIB
