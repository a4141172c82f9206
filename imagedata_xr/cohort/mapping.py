"""A function over every image of a tree: results as a tree, failures as a table."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..errors import LabelError, NotFoundError, warn
from ..formats.originals import originals
from ..formats.seam import Written
from ..model.geometry import AXES
from ..model.image import NAME
from ..model.masking import mask_identity
from ..model.tree import images_of
from ..stores.originals import sparing
from .media import bare_of
from .running import Outcome, chosen, run_all
from .targets import Targets

RESULT = "result"
"""Name of the variable that holds a result which is no image."""


@dataclass(frozen=True)
class How:
    """How a function is mapped; see ``DataTree.imd.map``."""

    workers: Any = None
    errors: str = "raise"
    retries: int = 0
    progress: Callable[[int, int], None] | None = None
    only: Any = None
    identifiers: bool = False

    def __post_init__(self) -> None:
        if self.errors not in ("raise", "collect"):
            raise LabelError(f"errors={self.errors!r}: it is 'raise' or 'collect'")


def map_images(
    tree: xr.DataTree,
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    how: How,
    targets: Targets | None = None,
) -> tuple[xr.DataTree, pd.DataFrame]:
    """Call a function with every image of a tree; see ``DataTree.imd.map``.

    Returns
    -------
    tree : DataTree
        Results in place of images; nodes without an image stay, those that failed or were not asked for are empty.
    failures : pandas.DataFrame
        One row per image that failed.
    """
    images = list(images_of(tree))
    done, failures = run_images(images, partial(_call, func, args, dict(kwargs)), how, targets)
    out = {node.path: xr.Dataset() if NAME in node.data_vars else node.to_dataset() for node in tree.subtree}
    out |= {images[number - 1][0]: as_node(value) for number, value in done.items()}
    return xr.DataTree.from_dict(out), failures


def write_images(tree: xr.DataTree, how: How, targets: Targets) -> tuple[dict[str, Written], pd.DataFrame]:
    """Write every image of a tree; see ``DataTree.imd.write``."""
    images: list[tuple[str, Any]] = list(images_of(tree))
    bare = list(bare_of(tree))
    if "dicom" in targets.formats and targets.options.get("kind") is None:
        images += bare
    elif bare:
        warn(f"{len(bare)} series without pixels (reports, documents, plans) are left out: DICOM alone holds them")
    done, failures = run_images(images, _itself, how, targets)
    return {images[number - 1][0]: value for number, value in done.items()}, failures


def _itself(image: Any) -> Any:
    return image


def _call(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], image: xr.DataArray) -> Any:
    return func(image, *args, **kwargs)


def run_images(
    images: list[tuple[str, xr.DataArray]],
    func: Callable[[xr.DataArray], Any],
    how: How,
    targets: Targets | None = None,
) -> tuple[dict[int, Any], pd.DataFrame]:
    """Results by the number of the image (from 1 on), and the table of failures."""
    if not images:
        raise NotFoundError("the tree holds no image")
    numbers = chosen(range(1, len(images) + 1), how.only)
    done: dict[int, Any] = {}
    failed: list[Outcome] = []
    overwrites = targets is not None and targets.options.get("overwrite")
    # each image spares its own originals; here those of all others too, and the archive or DICOMDIR that they came from
    spared = dict.fromkeys(one for _, image in images for one in originals(image)) if overwrites else {}
    with sparing(spared), closing(outcomes({n: images[n - 1][1] for n in numbers}, func, how, targets)) as found:
        for count, outcome in enumerate(found, 1):
            if outcome.error is None:
                done[outcome.number] = outcome.value
            elif how.errors == "raise":
                outcome.error.add_note(f"(image {outcome.number} of {len(images)})")
                raise outcome.error
            else:
                failed.append(outcome)
            if how.progress is not None:
                how.progress(count, len(numbers))
    return dict(sorted(done.items())), table_of(failed, images, how.identifiers)


def outcomes(
    things: Mapping[int, Any], func: Callable[[Any], Any], how: How, targets: Targets | None = None
) -> Generator[Outcome, None, None]:
    """Call a function with each of the things that are numbered; write its results where there are targets.

    What is written is there under its final name when the last outcome was taken. Who does not take them all closes it.
    """
    if targets is None:
        yield from run_all({n: _Job(func, one, n, None) for n, one in things.items()}, how.workers, how.retries)
        return
    with targets.opened() as opened:
        jobs = {n: _Job(func, one, n, opened.targets) for n, one in things.items()}
        with closing(run_all(jobs, how.workers, how.retries)) as found:
            for outcome in found:
                yield replace(outcome, value=opened.told(outcome.value))


@dataclass(frozen=True)
class _Job:
    """What a worker does with one image."""

    func: Callable[[Any], Any]
    image: Any
    number: int
    targets: Targets | None

    def __call__(self) -> Any:
        result = self.func(self.image)
        return result if self.targets is None else self.targets.write(result, self.number)


def table_of(failed: Iterable[Outcome], images: list[tuple[str, xr.DataArray]], identifiers: bool) -> pd.DataFrame:
    """Table of failures: number of the image, kind and text of the error, and how often it was tried.

    Names, IDs and UIDs of the patient are masked in the texts; the path in the tree holds them, and is told only with
    `identifiers`.
    """
    rows = []
    for outcome in sorted(failed, key=lambda o: o.number):
        path, image = images[outcome.number - 1]
        text = str(outcome.error)
        row = {
            "number": outcome.number,
            "error": type(outcome.error).__name__,
            "message": text if identifiers else mask_identity(text, image.attrs),
            "attempts": outcome.attempts,
        }
        rows.append(row | ({"path": path} if identifiers else {}))
    columns = ["number", "error", "message", "attempts", *(["path"] if identifiers else [])]
    return pd.DataFrame(rows, columns=columns).set_index("number")


def as_node(value: Any) -> xr.Dataset:
    """Dataset of a result, for its node in the tree.

    An image becomes the variable ``image``; other arrays, numbers and texts the variable ``result``; a mapping one
    variable for each of its keys. What was written is told in attrs.
    """
    if isinstance(value, xr.Dataset):
        return value
    if isinstance(value, xr.DataArray):
        return value.to_dataset(name=NAME if {*AXES[1:]} <= set(value.dims) else RESULT)
    if value is None:
        return xr.Dataset()
    if isinstance(value, Written):
        return xr.Dataset(attrs={"format": value.format, "paths": list(value.paths), "bytes": value.bytes})
    if isinstance(value, Mapping):
        return xr.Dataset({str(key): _variable(one, f"{key}_") for key, one in value.items()})
    return xr.Dataset({RESULT: _variable(value)})


def _variable(value: Any, prefix: str = "") -> Any:
    if isinstance(value, xr.DataArray | xr.Variable):
        return value
    array = value if hasattr(value, "dtype") and hasattr(value, "shape") else np.asarray(value)
    return xr.Variable([f"{prefix}dim_{k}" for k in range(array.ndim)], array)
