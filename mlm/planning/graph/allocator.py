"""How ggml places the results of a graph in one buffer, to find how large the buffer becomes.

A model of ``ggml/src/ggml-alloc.c`` in the llama.cpp inside llama-cpp-python 0.3.36: results are
placed in the order of computation into the smallest hole that is large enough, freed after their
last use, and written over an operand that nobody needs any more where the operation allows it.
"""

from bisect import bisect_left
from collections.abc import Iterable

_ALIGNMENT = 32  # of tensors in main memory
_ENDLESS = 2**62
Dims = tuple[int, ...]


class Tensor:
    """One result in a graph; weights and caches lie elsewhere and are not part of it."""

    __slots__ = (
        "at", "children", "is_listed", "is_output", "is_own", "layout", "ne", "overwrites", "root",
        "size", "sources", "views",
    )  # fmt: skip

    def __init__(self, ne: Dims, sources: "tuple[Tensor, ...]", item: int) -> None:
        self.ne = ne
        count = 1
        for n in ne:
            count *= n
        if count < 0:
            raise ValueError("a result has no negative size")
        self.size = -(-count * item // _ALIGNMENT) * _ALIGNMENT
        self.layout: object = (ne, item)
        self.sources = sources
        self.overwrites = False
        self.is_output = False
        self.root: Tensor | None = None  # of a view: what it looks into
        self.children = self.views = self.at = 0
        self.is_own = self.is_listed = False


class Graph:
    """Operations in the order in which ggml computes them."""

    def __init__(self) -> None:
        self.leaves: list[Tensor] = []
        self.nodes: list[Tensor] = []

    def leaf(self, *ne: int, item: int = 4) -> Tensor:
        """Return an input: written before the graph runs."""
        return Tensor(ne, (), item)

    def result(self, ne: Dims, *sources: Tensor | None, item: int = 4) -> Tensor:
        """Return the result of an operation; None stands for what lies outside the graph."""
        return Tensor(ne, tuple(s for s in sources if s is not None), item)

    def over(self, *sources: Tensor | None) -> Tensor:
        """Return the result of an operation that can overwrite an operand as large as it."""
        inside = tuple(s for s in sources if s is not None)
        made = Tensor(inside[0].ne, inside, 4)
        made.overwrites = True
        return made

    def view(self, of: Tensor, *ne: int, strided: bool = False) -> Tensor:
        """Return a part of ``of``, or all of it in another shape."""
        made = Tensor(ne, (of,), 4)
        made.root = of.root or of
        if strided:
            made.layout = made  # like no other
        return made

    def expand(self, tensor: Tensor) -> None:
        """Compute ``tensor`` next, and before it what it needs, its first operand first."""
        if tensor.is_listed:
            return
        tensor.is_listed = True
        waiting = [(tensor, iter(tensor.sources))]
        while waiting:
            current, sources = waiting[-1]
            needed = next((source for source in sources if not source.is_listed), None)
            if needed is not None:
                needed.is_listed = True
                waiting.append((needed, iter(needed.sources)))
                continue
            waiting.pop()
            (self.nodes if current.sources else self.leaves).append(current)


class _Space:
    """Holes in a buffer that can grow, by address; the last hole has no end."""

    def __init__(self) -> None:
        self.starts = [0]
        self.sizes = [_ENDLESS]
        self.peak = 0

    def take(self, size: int) -> int:
        starts, sizes = self.starts, self.sizes
        best, best_size = len(starts) - 1, _ENDLESS
        for i in range(len(starts) - 1):
            if size <= sizes[i] <= best_size:
                best, best_size = i, sizes[i]
        at = starts[best]
        starts[best] += size
        sizes[best] -= size
        if not sizes[best]:
            del starts[best], sizes[best]
        self.peak = max(self.peak, at + size)
        return at

    def give(self, at: int, size: int) -> None:
        starts, sizes = self.starts, self.sizes
        i = bisect_left(starts, at)
        if i < len(starts) and at + size == starts[i]:
            size += sizes.pop(i)
            del starts[i]
        if i and starts[i - 1] + sizes[i - 1] == at:
            sizes[i - 1] += size
        else:
            starts.insert(i, at)
            sizes.insert(i, size)


def peak_bytes(graph: Graph) -> int:
    """Return the size of the buffer that the graph needs."""
    space = _Space()
    for tensor in graph.leaves:
        _place(tensor, space)
    for node in graph.nodes:
        if node.root is not None:
            node.root.views += 1
        for source in node.sources:
            source.children += 1
    for node in graph.nodes:
        _place(node, space)
        _release(node.sources, space)
    return space.peak


def _place(tensor: Tensor, space: _Space) -> None:
    if tensor.root is not None:
        return
    tensor.is_own = True
    if tensor.overwrites:
        for source in tensor.sources:
            if _can_overwrite(source, tensor):
                source.is_own = False
                tensor.at = source.at
                return
    tensor.at = space.take(tensor.size)


def _can_overwrite(source: Tensor, by: Tensor) -> bool:
    """Return whether nothing but ``by`` needs ``source`` any more; views are never overwritten."""
    is_free = source.children == 1 and not source.views and not source.is_output
    return is_free and source.is_own and source.layout == by.layout


def _release(sources: Iterable[Tensor], space: _Space) -> None:
    for source in sources:
        source.children -= 1
        if source.children or source.views:
            continue
        holder = source.root
        if holder is None:
            holder = source
        else:
            holder.views -= 1
        if holder.is_own and not holder.views and not holder.children and not holder.is_output:
            holder.is_own = False
            space.give(holder.at, holder.size)
