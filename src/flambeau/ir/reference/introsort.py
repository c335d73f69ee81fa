"""How the C++ library orders equals: its sorting and selection, step by step, on integers.

PyTorch's ``sort``, ``topk``, ``kthvalue`` and ``mode`` leave the order of equal elements to
``std::sort`` [Musser 1997], ``std::nth_element``, ``std::partial_sort`` (as in GNU's library) and a
quickselect; whoever wants the same positions has to take the same steps. Everything here works on
a row of keys and, moved along with them, the positions they came from. It is written in what
``run.compiler.loops`` makes native code of: integers, lists of them, ``while``, ``if`` and calls.
"""

from __future__ import annotations

Row = list[int]


def put(k: Row, p: Row, to: int, at: int) -> int:
    k[to] = k[at]
    p[to] = p[at]
    return 0


def swap(k: Row, p: Row, a: int, b: int) -> int:
    key = k[a]
    place = p[a]
    put(k, p, a, b)
    k[b] = key
    p[b] = place
    return 0


def sift(k: Row, p: Row, first: int, hole: int, size: int, key: int, place: int) -> int:
    """Moves a hole to the bottom of a heap and the pair up from there."""
    top = hole
    child = hole
    while child < (size - 1) // 2:
        child = 2 * (child + 1)
        if k[first + child] < k[first + child - 1]:
            child = child - 1
        put(k, p, first + hole, first + child)
        hole = child
    if size % 2 == 0 and child == (size - 2) // 2:
        child = 2 * (child + 1)
        put(k, p, first + hole, first + child - 1)
        hole = child - 1
    while hole > top and k[first + (hole - 1) // 2] < key:
        put(k, p, first + hole, first + (hole - 1) // 2)
        hole = (hole - 1) // 2
    k[first + hole] = key
    p[first + hole] = place
    return 0


def pop(k: Row, p: Row, first: int, last: int, at: int) -> int:
    """The heap's greatest goes to ``at``, what was there into the heap."""
    key = k[at]
    place = p[at]
    put(k, p, at, first)
    sift(k, p, first, 0, last - first, key, place)
    return 0


def heap_select(k: Row, p: Row, first: int, middle: int, last: int) -> int:
    """The least of all into a heap in front."""
    size = middle - first
    at = (size - 2) // 2
    while size > 1 and at >= 0:
        sift(k, p, first, at, size, k[first + at], p[first + at])
        at = at - 1
    i = middle
    while i < last:
        if k[i] < k[first]:
            pop(k, p, first, middle, i)
        i = i + 1
    return 0


def sort_heap(k: Row, p: Row, first: int, last: int) -> int:
    """A heap into order."""
    while last - first > 1:
        last = last - 1
        pop(k, p, first, last, last)
    return 0


def partial_sort(k: Row, p: Row, first: int, middle: int, last: int) -> int:
    """The least, in order, in front."""
    heap_select(k, p, first, middle, last)
    return sort_heap(k, p, first, middle)


def median_of(k: Row, a: int, b: int, c: int) -> int:
    if k[a] < k[b]:
        if k[b] < k[c]:
            return b
        if k[a] < k[c]:
            return c
        return a
    if k[a] < k[c]:
        return a
    if k[b] < k[c]:
        return c
    return b


def split(k: Row, p: Row, a: int, b: int, key: int) -> int:
    """Swaps what is not less with what is not greater; twice where the second part begins.

    It is one more where the two scans met at one element. They need something to stop at: a key
    that is not less from ``a`` on, ``b`` included, and one that is not greater before ``b``.
    """
    while True:
        while k[a] < key:
            a = a + 1
        b = b - 1
        while key < k[b]:
            b = b - 1
        if a >= b:
            break
        swap(k, p, a, b)
        a = a + 1
    if a == b:
        return 2 * a + 1
    return 2 * a


def cut(k: Row, p: Row, first: int, last: int) -> int:
    """Splits around the median of three."""
    middle = first + (last - first) // 2
    swap(k, p, first, median_of(k, first + 1, middle, last - 1))
    return split(k, p, first + 1, last, k[first]) // 2


def insert(k: Row, p: Row, lowest: int, at: int) -> int:
    """Moves an element down to its place, which is ``lowest`` at the least."""
    key = k[at]
    place = p[at]
    while at > lowest and key < k[at - 1]:
        put(k, p, at, at - 1)
        at = at - 1
    k[at] = key
    p[at] = place
    return 0


def insertion_sort(k: Row, p: Row, first: int, last: int) -> int:
    i = first + 1
    while i < last:
        insert(k, p, first, i)
        i = i + 1
    return 0


def depth(size: int) -> int:
    """Twice the logarithm: so many splits before a heap takes over."""
    found = 0
    while size > 1:
        size = size // 2
        found = found + 2
    return found


def split_all(k: Row, p: Row, first: int, last: int, left: int) -> int:
    while last - first > 16:
        if left == 0:
            partial_sort(k, p, first, last, last)
            return 0
        left = left - 1
        at = cut(k, p, first, last)
        split_all(k, p, at, last, left)
        last = at
    # The library does this once for all, in the end; nothing passes from part to part then.
    return insertion_sort(k, p, first, last)


def sort(k: Row, p: Row, first: int, last: int) -> int:
    """``std::sort``."""
    return split_all(k, p, first, last, depth(last - first))


def stable_sort(k: Row, p: Row, first: int, last: int) -> int:
    """Sorted, equals by their places."""
    sort(k, p, first, last)
    while first < last:
        end = first + 1
        while end < last and k[end] == k[first]:
            end = end + 1
        if end > first + 1:
            sort(p, k, first, end)
        first = end
    return 0


def nth_element(k: Row, p: Row, first: int, nth: int, last: int) -> int:
    """``std::nth_element``."""
    left = depth(last - first)
    while last - first > 3:
        if left == 0:
            heap_select(k, p, first, nth + 1, last)
            return swap(k, p, first, nth)
        left = left - 1
        at = cut(k, p, first, last)
        if at <= nth:
            first = at
        else:
            last = at
    return insertion_sort(k, p, first, last)


def top(k: Row, p: Row, first: int, size: int, count: int, ordered: int) -> int:
    """``torch.topk``: the least keys in front."""
    if count * 64 <= size:
        return partial_sort(k, p, first, first + count, first + size)
    if count < 1:
        return 0
    nth_element(k, p, first, first + count - 1, first + size)
    if ordered == 1:
        sort(k, p, first, first + count - 1)
    return 0


def select(k: Row, p: Row, first: int, size: int, nth: int) -> int:
    """``torch.kthvalue``: the n-th least (from 0) to its place, by quickselect."""
    low = first
    high = first + size - 1
    nth = first + nth
    while high > low + 1:
        swap(k, p, (low + high - 2 * first) // 2 + first, low + 1)
        if k[low + 1] > k[high]:
            swap(k, p, low + 1, high)
        if k[low] > k[high]:
            swap(k, p, low, high)
        if k[low + 1] > k[low]:
            swap(k, p, low + 1, low)
        # Scans that meet at an element go past it.
        met = split(k, p, low + 2, high, k[low])
        j = met // 2 - 1
        i = j + 1 + met % 2
        swap(k, p, low, j)
        if j <= nth:
            low = i
        if j >= nth:
            high = j - 1
    if high == low + 1 and k[low] > k[high]:
        swap(k, p, low, high)
    return 0


def select_stable(k: Row, p: Row, first: int, size: int, nth: int) -> int:
    """The place of the n-th least (from 0), equals in the order of their places."""
    select(k, p, first, size, nth)
    key = k[first + nth]
    less = 0
    same = first
    at = first
    while at < first + size:
        if k[at] < key:
            less = less + 1
        if k[at] == key:
            swap(k, p, same, at)
            same = same + 1
        at = at + 1
    if same > first + 1:
        select(p, k, first, same - first, nth - less)
    return p[first + nth - less]


def longest_run(k: Row, p: Row, first: int, last: int) -> int:
    """The place of the last of the longest run of equals in order, of several the first."""
    best = 0
    found = p[first]
    length = 0
    at = first + 1
    while at < last:
        length = length + 1
        if k[at] != k[at - 1]:
            length = 0
        if length > best:
            best = length
            found = p[at]
        at = at + 1
    return found


def order_rows(k: Row, p: Row, rows: int, size: int, task: int, count: int) -> int:
    """Rows one after another; ``task``: 0 sort, 1 top, 2 top in no order, 3 select."""
    first = 0
    while rows > 0:
        if task == 0:
            sort(k, p, first, first + size)
        if task == 1:
            top(k, p, first, size, count, 1)
        if task == 2:
            top(k, p, first, size, count, 0)
        if task == 3:
            select(k, p, first, size, count)
        first = first + size
        rows = rows - 1
    return 0
