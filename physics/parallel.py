"""Compiled loops on several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numba

# Pieces a thread gets on average: enough to even out unequal work, few enough that handing out costs nothing.
PIECES_A_THREAD = 8


def over_threads(loop: Callable[..., None], count: int, *arguments: Any) -> None:
    """Run the compiled, GIL-free `loop(begin, end, *arguments)` over range(count), in pieces.

    As many threads as `numba.get_num_threads()`. The loop must write to places of its own for every index, so
    that the result does not depend on the pieces. Threads end with the call: unlike numba's parallel loops this
    may be called from any thread and before a fork, and it compiles in a third of the time.
    """
    threads = min(numba.get_num_threads(), count)
    if threads <= 1:
        loop(0, count, *arguments)
        return
    pieces = min(count, threads * PIECES_A_THREAD)
    begins = iter(range(pieces))
    hand_out = threading.Lock()
    failures: list[BaseException] = []

    def work() -> None:
        while not failures:
            with hand_out:
                piece = next(begins, None)
            if piece is None:
                return
            try:
                loop(piece * count // pieces, (piece + 1) * count // pieces, *arguments)
            except BaseException as failure:  # noqa: BLE001 - raised again in the calling thread
                failures.append(failure)

    helpers = [threading.Thread(target=work) for _ in range(threads - 1)]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
    if failures:
        raise failures[0]
