"""Running many jobs: one by one, in threads, in an executor, or on a cluster; what fails is tried again, then noted."""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from ..errors import LabelError

AHEAD = 2
"""Jobs per worker that are handed over at once: the next one is there when one is done, and no result has to wait."""

ASK = 1.0
"""Seconds after which a cluster is asked again how many threads it has."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes
    ----------
    number : int
    value : Any
        None where it failed.
    error : Exception or None
    attempts : int
    """

    number: int
    value: Any
    error: Exception | None
    attempts: int


def run_all(jobs: Mapping[int, Callable[[], Any]], workers: Any, retries: Any) -> Generator[Outcome, None, None]:
    """Run jobs and give the outcome of each as soon as it is there.

    Parameters
    ----------
    jobs : mapping
        Number -> a callable without arguments, which processes can be sent.
    workers : None, int, concurrent.futures.Executor or distributed.Client
        None runs them here, one by one; a number in as many threads.
    retries : int
        How often a job that failed is tried again: after the others that wait already, perhaps by another worker.

    Raises
    ------
    LabelError
        For workers that are none of these.
    """
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise LabelError(f"retries={retries!r}: it is how often a failed image is tried again, 0 or more")
    if workers is None:
        yield from _one_by_one(jobs, retries)
        return
    with _executor(workers) as (executor, capacity):
        yield from _in_parallel(jobs, executor, capacity, retries)


def _one_by_one(jobs: Mapping[int, Callable[[], Any]], retries: int) -> Iterator[Outcome]:
    for number, job in jobs.items():
        for attempt in range(1, retries + 2):
            try:
                yield Outcome(number, job(), None, attempt)
                break
            except Exception as error:  # noqa: BLE001  # whatever the user's function raises is what is asked for
                if attempt > retries:
                    yield Outcome(number, None, error, attempt)


@contextlib.contextmanager
def _executor(workers: Any) -> Iterator[tuple[Executor, Callable[[], int]]]:
    """Executor, and a function that tells how many jobs it runs at once."""
    if isinstance(workers, int) and not isinstance(workers, bool) and workers > 0:
        with ThreadPoolExecutor(workers, "imagedata_xr") as pool:
            yield pool, lambda: int(workers)
    elif isinstance(workers, Executor):
        yield workers, lambda: int(getattr(workers, "_max_workers", None) or os.cpu_count() or 1)
    elif hasattr(workers, "get_executor") and hasattr(workers, "nthreads"):
        yield _Packed(workers.get_executor(pure=False)), _Threads(workers)
    else:
        raise LabelError(
            f"workers={workers!r}: a number of threads, an executor of concurrent.futures, or a Client of distributed; "
            "None works here, image by image"
        )


class _Packed(Executor):
    """Sends jobs to a cluster as bytes: its scheduler would unpack what it is sent, and pack it again for a worker."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Hand over a call."""
        import cloudpickle

        return self._executor.submit(_unpacked, cloudpickle.dumps((function, args, kwargs), protocol=5))


def _unpacked(call: bytes) -> Any:
    """Do what was sent as bytes; on the worker."""
    function, args, kwargs = pickle.loads(call)
    return function(*args, **kwargs)


class _Threads:
    """Threads of a cluster, which may grow and shrink: asked for now and then, as each answer takes a while."""

    def __init__(self, client: Any) -> None:
        self._client, self._until, self._count = client, 0.0, 0

    def __call__(self) -> int:
        now = time.monotonic()
        if now >= self._until or not self._count:
            self._count, self._until = sum(self._client.nthreads().values()), now + ASK
        return self._count


def _in_parallel(
    jobs: Mapping[int, Callable[[], Any]], executor: Executor, capacity: Callable[[], int], retries: int
) -> Iterator[Outcome]:
    todo = [(number, 1) for number in jobs]
    todo.reverse()
    running: dict[Future[Any], tuple[int, int]] = {}
    try:
        while todo or running:
            most = AHEAD * max(1, capacity())
            while todo and len(running) < most:
                number, attempt = todo.pop()
                running[executor.submit(alone, jobs[number])] = number, attempt
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                number, attempt = running.pop(future)
                error = future.exception()
                if error is None:
                    yield Outcome(number, future.result(), None, attempt)
                elif not isinstance(error, Exception):
                    raise error
                elif attempt <= retries:
                    todo.insert(0, (number, attempt + 1))
                else:
                    yield Outcome(number, None, error, attempt)
    finally:
        for future in running:
            future.cancel()


# --- on the worker ----------------------------------------------------------------------------------------------------


class _Here:
    """Makes dask compute in the thread that asks for it, for as long as any job of this process runs.

    A job of a cluster that computes would hand its own tasks to the same cluster, and wait for workers that are all
    waiting in this way; one of many threads would start as many threads again. The setting is one of the process, so
    the first job sets it and the last one takes it back.
    """

    def __init__(self) -> None:
        self._lock, self._count, self._before = threading.Lock(), 0, contextlib.ExitStack()

    def __enter__(self) -> None:
        import dask

        with self._lock:
            if not self._count:
                self._before.enter_context(dask.config.set(scheduler="synchronous"))
            self._count += 1

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._count -= 1
            if not self._count:
                self._before.close()


_here = _Here()


def alone(job: Callable[[], Any]) -> Any:
    """Run a job on a worker; what is lazy in its result is computed there."""
    with _here:
        return loaded(job())


def loaded(result: Any) -> Any:
    """Compute what is lazy: images and Datasets, arrays of dask, and these in lists and mappings."""
    import xarray as xr

    if isinstance(result, xr.DataArray | xr.Dataset):
        return result.compute()
    if isinstance(result, Mapping):
        return {key: loaded(value) for key, value in result.items()}
    if type(result) in (list, tuple):
        return type(result)(loaded(value) for value in result)
    return result.compute() if hasattr(result, "__dask_graph__") else result


def chosen(numbers: Sequence[int], only: Any) -> list[int]:
    """Those of the numbers that are asked for; `only` is a table of failures, or numbers.

    Raises
    ------
    LabelError
        For a number that there is not.
    """
    if only is None:
        return list(numbers)
    wanted = [int(n) for n in (only.index if hasattr(only, "columns") else only)]
    if strange := sorted(set(wanted) - set(numbers)):
        raise LabelError(f"only names the images {strange[:5]}, where there are {numbers[0]} to {numbers[-1]}")
    return [n for n in numbers if n in set(wanted)]
