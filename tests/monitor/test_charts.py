"""Charts of characters."""

from mlm.monitor.charts import bar, sparkline, trace


def test_a_sparkline_is_blank_for_nothing_and_tallest_for_most():
    assert sparkline([0, 1, 4, 8]) == " ▁▄█"
    assert sparkline([]) == ""


def test_a_bar_is_never_empty_for_something():
    assert bar(1, 1000, 10) == "█"
    assert bar(0, 1000, 10) == ""


def test_a_trace_is_blank_where_nothing_is_known_and_lowest_for_zero():
    points = [(100.0, 0.0), (110.0, 50.0), (119.0, 100.0)]
    drawn = trace(points, 119.9, 12, top=100)
    assert len(drawn) == 12
    assert drawn[-1] == "▆" and drawn[-2] == "▁"


def test_a_trace_of_one_height_is_tallest_without_a_top():
    assert trace([(5.0, 3.0)], 5.0, 4).strip() == "█"


def test_what_is_past_does_not_change_its_height_as_time_goes_on():
    points = [(float(at), float(at % 7)) for at in range(60)]
    before = trace(points, 59.0, 12, top=10)
    after = trace([*points, (60.0, 1.0), (69.0, 1.0)], 69.0, 12, top=10)
    assert after[:-1] == before[1:]


def test_no_width_is_no_trace():
    assert trace([(1.0, 1.0)], 1.0, 0) == ""
