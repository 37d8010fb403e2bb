"""Work that is done on all cores, by processes that are forked for it; the results come in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import TypeVar

from pvsim.errors import PvsimError

Result = TypeVar("Result")

_work: list[Callable[[], object]] = []  # forked processes inherit it, so that no call has to be sent to them


def in_order(calls: Sequence[Callable[[], Result]], workers: int) -> Iterator[Result]:
    """What the calls return, in their order, computed by so many processes; an error of one is raised in its place."""
    if workers < 2 or len(calls) < 2:
        yield from (call() for call in calls)
        return
    _work[:] = calls
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(min(workers, len(calls)), fork, _begin, (os.getpid(),)) as pool:
        try:
            results: Iterator[Result] = pool.map(_call, range(len(calls)))  # type: ignore[arg-type]
            yield from results
        except BrokenProcessPool:
            raise PvsimError("A worker process was killed; the kernel's log says why.") from None
        finally:
            _work.clear()
            pool.shutdown(cancel_futures=True)  # without a wait, the end of Python may meet pipes that are being closed


def _begin(parent: int) -> None:
    """The parent handles Ctrl-C; a worker that has lost its parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(AttributeError, OSError):
        from ctypes import CDLL

        CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def _call(number: int) -> object:
    return _work[number]()


def cores() -> int:
    """How many processes may run at a time."""
    return len(os.sched_getaffinity(0))
