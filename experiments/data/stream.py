"""Images that stay on disk, and batches of them that are read while earlier ones are trained on."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.data.dataset import Images, Stream

# How many reads are under way at once: most wait for the disk, or decode outside of Python's lock.
THREADS = min(16, 2 * (os.cpu_count() or 1))
_CHUNK = 1000


def take(images: Images | Stream, indices: NDArray[np.integer]) -> Images | Stream:
    """The images at `indices`, still unread if they were."""
    if not isinstance(images, Stream):
        return images[indices]
    shape = (len(indices), *images.shape[1:])
    return dataclasses.replace(images, shape=shape, read=lambda chosen: images.read(indices[chosen]))


def chunks(images: Images | Stream, size: int = _CHUNK) -> Iterator[Images]:
    """The images in order, `size` at a time, read ahead."""
    starts = range(0, len(images), size)
    if not isinstance(images, Stream):
        yield from (images[start : start + size] for start in starts)
        return
    order = [np.arange(start, min(start + size, len(images))) for start in starts]
    with prefetch(images, order, depth=2) as read:
        yield from read


def read_all(images: Stream, advance: Callable[[int], None]) -> Images:
    """All images; `advance` is called with how many more have been read."""
    array = np.empty(images.shape, images.dtype)
    done = 0
    # Small chunks: a thread's share, and how often `advance` is called.
    order = np.array_split(np.arange(len(images)), -(-len(images) // 64))
    with prefetch(images, order, depth=2 * THREADS) as read:
        for chunk in read:
            array[done : done + len(chunk)] = chunk
            done += len(chunk)
            advance(len(chunk))
    return array


def identity(images: Any) -> Any:
    """What `run_folder.fingerprint` can hash: an array is that itself."""
    return np.frombuffer(images.identity.encode(), np.uint8) if isinstance(images, Stream) else images


def in_threads(
    function: Callable[[Any], Any], items: list[Any], advance: Callable[[int], None]
) -> Iterator[Any]:
    """`map` with threads, which have ended when it ends; `advance(1)` is called after each item."""
    executor = concurrent.futures.ThreadPoolExecutor(THREADS)
    try:
        for result in executor.map(function, items):
            advance(1)
            yield result
    finally:
        executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def prefetch(
    images: Stream, order: NDArray[np.integer] | list[NDArray], *, depth: int = 4, workers: int = THREADS
) -> Iterator[Iterator[Images]]:
    """Within the `with`, an iterator over the batches that the rows of `order` name, in that order.

    Args:
      images: where from.
      order: indices of each batch, `[steps, batch]`.
      depth: how many batches may be under way or wait; this bounds the memory.
      workers: threads that read. They have ended when the `with` ends, however it ends; what a read raises
        is raised where its batch would come.
    """
    executor = concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
    try:
        yield _in_order(executor, images, order, depth)
    finally:
        executor.shutdown(cancel_futures=True)


def _in_order(
    executor: concurrent.futures.Executor, images: Stream, order: Any, depth: int
) -> Iterator[Images]:
    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    for indices in order:
        if len(waiting) == depth:
            yield waiting.popleft().result()
        waiting.append(executor.submit(images.read, np.asarray(indices)))
    while waiting:
        yield waiting.popleft().result()
