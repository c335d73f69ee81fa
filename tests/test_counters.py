"""How often native programs ran, by all of them together."""

from __future__ import annotations

import gc

import flambeau
from compiled import needs_native
from flambeau.record import trace
from flambeau.run import counters, pace


def test_words_of_several_blocks_are_summed() -> None:
    words = [counters.counter() for _ in range(10_000)]
    before = counters.total()
    for k, word in enumerate(words):
        if k % 2:
            counters.weigh(word, k)
        word += k
    even = [k for k in range(10_000) if k % 2]
    found = [a - b for a, b in zip(counters.total(), before, strict=True)]
    assert found == [sum(even), sum(k * k for k in even)]
    assert len({word.ctypes.data for word in words}) == len(words)


@needs_native
def test_what_a_program_did_stays_counted_when_it_is_gone() -> None:
    def run() -> None:
        x = flambeau.arange(77.0)
        for _ in range(12):
            x = (x * 1.5 - 0.25).tanh()
            x.tolist()

    before = pace.now()
    run()
    ran = pace.now()
    assert ran[0] - before[0] >= 5
    assert ran[1] > before[1]
    trace.renew(trace.open_.trace)
    trace.trie.roots.clear()
    trace.renew(trace.open_.trace)
    gc.collect()
    assert pace.now() >= ran
