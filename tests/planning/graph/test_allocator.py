"""Results share one buffer the way ggml's allocator lets them."""

from mlm.planning.graph.allocator import Graph, Tensor, peak_bytes

WIDE, NARROW = 1024, 256  # elements of 4 bytes


def chain(graph: Graph, *widths: int) -> Tensor:
    """Return the last of results that each need the one before."""
    cur = graph.leaf(8)
    for width in widths:
        cur = graph.result((width,), cur)
    return cur


def peak(graph: Graph, last: Tensor) -> int:
    last.is_output = True
    graph.expand(last)
    return peak_bytes(graph)


def test_a_result_is_freed_after_its_last_use():
    graph = Graph()
    # 32 bytes of input; then never more than two neighbours at a time, the third in the first hole.
    assert peak(graph, chain(graph, WIDE, WIDE, WIDE)) == 32 + 2 * 4 * WIDE


def test_an_operation_that_can_do_so_writes_over_its_operand():
    graph = Graph()
    cur = chain(graph, WIDE)
    assert peak(graph, graph.over(graph.over(cur))) == 32 + 4 * WIDE


def test_what_somebody_else_still_needs_is_not_written_over():
    graph = Graph()
    cur = chain(graph, WIDE)
    changed = graph.over(cur)
    assert peak(graph, graph.over(changed, cur)) == 32 + 2 * 4 * WIDE


def test_another_shape_of_a_result_takes_no_memory_but_is_never_written_over():
    graph = Graph()
    seen = graph.view(chain(graph, WIDE), 2, WIDE // 2)
    assert peak(graph, graph.over(seen)) == 32 + 2 * 4 * WIDE


def test_the_smallest_hole_that_is_large_enough_is_taken():
    graph = Graph()
    start = graph.leaf(8)
    narrow, kept = graph.result((NARROW,), start), graph.result((8,), start)
    wide = graph.result((WIDE,), start)
    after = graph.result((16,), narrow, kept, wide)
    # Two holes now; if the narrow one were not filled first, the wide one would be too small.
    narrow2 = graph.result((NARROW,), after)
    wide2 = graph.result((WIDE,), narrow2)
    last = graph.result((8,), wide2, narrow2, kept, after)
    assert peak(graph, last) == 4 * (8 + NARROW + 8 + WIDE + 16)


def test_operands_are_computed_in_the_order_in_which_they_are_named():
    graph = Graph()
    start = graph.leaf(8)
    second, first = graph.result((16,), start), graph.result((8,), start)
    last = graph.result((8,), first, second)
    graph.expand(last)
    assert graph.nodes == [first, second, last]
