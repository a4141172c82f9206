"""Writing every image of a source under its number, for the commands that do."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from ..errors import ImagedataError
from ..formats.seam import WriteOptions, Written
from ..stores.registry import store_of
from ..stores.url import source_name
from .talk import Counter, complain, say, size

if TYPE_CHECKING:
    from ..cohort.targets import Targets

workers_option = click.option(
    "--workers", type=click.IntRange(1), help="Write as many images at the same time.  [default: one after the other]"
)


def targets_of(
    out: str, formats: Sequence[str], options: WriteOptions, template: str | None = None, geometry: str | None = None
) -> Targets:
    """Where every image goes; raises `FileExistsError` for a folder that has something in it."""
    from ..cohort.targets import Targets

    fields = {f.name: getattr(options, f.name) for f in dataclasses.fields(options) if f.name != "progress"}
    targets = Targets.of(out, list(formats) or None, fields | {"template": template, "geometry": geometry})
    for folder in targets.folders:
        _check_folder(folder, options.overwrite)
    return targets


def write_every(
    things: Mapping[int, Any],
    func: Callable[[Any], Any],
    targets: Targets,
    titles: Mapping[int, str],
    counter: Counter,
    errors: str,
    workers: int | None,
) -> int:
    """Write what a function makes of each thing; say what was written and what fails, and return how many do.

    Parameters
    ----------
    things, titles : mapping
        By number.
    func : callable
        Gives an image, or a series without pixels.
    targets : Targets
    counter : Counter
    errors : {"warn", "raise"}
        "raise" ends it at the first failure.
    workers : int, optional
        How many are written side by side.
    """
    from ..cohort.mapping import How, outcomes

    failed = 0
    with closing(outcomes(things, func, How(workers), targets)) as found:
        for count, outcome in enumerate(found, 1):
            error = outcome.error
            if error is None:
                for one in outcome.value if isinstance(outcome.value, list) else [outcome.value]:
                    tell(one)
            elif errors == "raise" or not isinstance(error, ImagedataError | FileExistsError):
                raise error
            else:
                complain(error, f"{titles[outcome.number]} is not written: ")
                failed += 1
            counter(count, len(things))
    return failed


def tell(written: Written) -> None:
    """Say what was written: files of a folder by their folder."""
    paths = written.paths
    if len(paths) > 1 and written.format == "dicom":
        # what a store of our own gives is the address of each image, not of a place that holds them
        own = store_of(paths[0]) is not None
        place = paths[0].rpartition("/")[0] if own else source_name(list(paths))
    else:
        place = ", ".join(paths)
    noun = "file" if written.count == 1 else "files"
    say(f"{written.format}: {written.count} {noun}, {size(written.bytes)}: {place}")


def _check_folder(folder: str, overwrite: bool) -> None:
    if "://" not in folder and not overwrite and os.path.isdir(folder) and os.listdir(folder):
        raise FileExistsError(f"{folder} is there already and not empty: overwrite=True replaces files in it")
