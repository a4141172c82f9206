"""Work in several threads, where no one else has spread it already."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def spread(work: Callable[[T], None], items: Iterable[T]) -> None:
    """Do the same with each item, in as many threads as this process may use cores.

    In other threads than the main one, and in the processes of a pool (dask's workers are such), it is done one item
    after the other: who started these keeps the cores busy already.

    Raises
    ------
    Exception
        The first that `work` raises; what has not begun by then is not done.
    """
    items = list(items)
    count = min(cores(), len(items))
    if count < 2:
        for item in items:
            work(item)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(count, thread_name_prefix="imagedata") as pool:
        running = [pool.submit(work, item) for item in items]
        try:
            for one in running:
                one.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def cores() -> int:
    """Cores that work may be spread over from this thread: 1 in threads and processes of a pool."""
    import multiprocessing

    if threading.current_thread() is not threading.main_thread() or multiprocessing.parent_process() is not None:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
