"""``imd convert``: from any source to any format."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import click

from ..errors import NotFoundError
from ..formats.reading import open_one
from ..formats.seam import WriteOptions, format_named, format_of_target
from ..formats.writing import write
from ..model.image import as_image
from ..options import set_options
from ..stores.originals import places_of_address
from ..stores.registry import store_of
from .every import targets_of, tell, workers_option, write_every
from .sources import as_source, keywords, numbered, read_options, reading_options
from .talk import Counter, Transfers, say


@click.command(short_help="Write an image, or every image, in another format.")
@click.argument("out")
@click.argument("sources", metavar="IN...", nargs=-1, required=True)
@click.option(
    "--format", "formats", multiple=True,
    help="dicom, nifti, ..., or an extension such as .nii.gz; several need %p in OUT.  [default: by the extension]",
)  # fmt: skip
@click.option("--all", "every", is_flag=True, help="Write every image of the source, into OUT/0001, OUT/0002, ...")
@reading_options
@click.option("--template", metavar="PATH", help="Image whose patient, study and elements the result gets.")
@click.option("--geometry", metavar="PATH", help="Image whose place in the patient the result gets.")
@click.option(
    "--kind", type=click.Choice(("segmentation", "parametric_map")),
    help="Write a DICOM segmentation of masks or numbers of segments, or a parametric map, in place of images.",
)  # fmt: skip
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", callback=keywords,
    help="An option of the format that is written, such as window=40,400 of PNG; repeat it.",
)  # fmt: skip
@click.option("--series-number", type=click.IntRange(0), help="Of the new DICOM series.")
@click.option("--series-description", help="Of the new DICOM series.")
@click.option("--image-type", metavar="VALUES", help="Image Type of the new DICOM series; a backslash parts values.")
@click.option("--units", help="Units of the values.")
@click.option(
    "--set", "sets", multiple=True, metavar="KEYWORD=VALUE", help="Set a DICOM element of all images; repeat it."
)
@click.option("--keep-uid", is_flag=True, help="Keep the UIDs; an error unless every image is unchanged.")
@click.option(
    "--identifiers", is_flag=True, help="Write names, IDs, dates and UIDs in formats that leave them out otherwise."
)
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@workers_option
@click.option("--progress/--no-progress", default=None, help="Count on stderr.  [default: on a terminal]")
@click.pass_context
def convert(
    ctx: click.Context,
    /,
    out: str,
    sources: tuple[str, ...],
    formats: tuple[str, ...],
    every: bool,
    template: str | None,
    geometry: str | None,
    kind: str | None,
    options: dict[str, Any],
    series_number: int | None,
    series_description: str | None,
    image_type: str | None,
    units: str | None,
    sets: tuple[str, ...],
    keep_uid: bool,
    identifiers: bool,
    overwrite: bool,
    workers: int | None,
    progress: bool | None,
    **given: Any,
) -> None:
    """Read the image of IN and write it to OUT. Several IN are one source.

    The format is that of --format, else the one that the extension of OUT means, else that of IN, else DICOM, of
    which OUT is a folder.
    """
    if every and series_number is not None:
        raise click.UsageError("--series-number would give all series one number: it can't be used with --all")
    if workers is not None and not every:
        raise click.UsageError("--workers write several images at the same time: it is for --all")
    spare_sources(out, sources)
    ctx.with_resource(set_options(progress=Transfers(progress)))
    elements = _elements(sets)
    for name in formats:
        format_named(name)  # a wrong word is said before anything is read
    how = WriteOptions(
        kind=kind,
        keep_uid=keep_uid,
        series_number=series_number,
        series_description=series_description,
        image_type=image_type.split("\\") if image_type else None,
        units=units,
        identifiers=identifiers,
        overwrite=overwrite,
        progress=Counter("written", progress),
        storage_options=given["storage_options"] or None,
        format_options=options,
    )
    if every:
        if format_of_target(out) is not None:
            raise click.UsageError(f"--all writes into a folder, and {out} is a file's name; --format says the format")
        targets = targets_of(out, formats, how, template, geometry)
        images, others = numbered(sources, read_options(given))
        if not images:
            raise NotFoundError(f"the source holds no image, only {len(others)} series without pixels")
        nodes = {found.number: found.node for found in images}
        titles = {number: f"image {number} ({node.title})" for number, node in nodes.items()}
        counter = Counter("images", progress)
        failed = write_every(
            nodes, lambda n: _with(n.open(), elements), targets, titles, counter, given["errors"], workers
        )
        if others:
            say(f"imd: {len(others)} series without pixels are left out", err=True)
        ctx.exit(1 if failed else 0)
    try:
        ds = open_one(as_source(sources), None, read_options(given))
    except NotFoundError as error:
        if "://" in out or "://" in sources[0] or not os.path.exists(out) or os.path.exists(sources[0]):
            raise
        raise NotFoundError(f"{error}. The target comes first: imd convert OUT IN") from error
    written = write(_with(ds, elements), out, list(formats) or None, template, geometry, how)
    for one in written if isinstance(written, list) else [written]:
        tell(one)


def _elements(sets: Sequence[str]) -> dict[str, Any]:
    """Elements that ``--set`` names, with their values."""
    if not sets:
        return {}
    from ..dicom.headers.editing import parsed

    return parsed(sets)


def _with(ds: Any, elements: Mapping[str, Any]) -> Any:
    """Image with the elements of ``--set``."""
    if not elements:
        return ds
    from ..dicom.headers.editing import edited

    return edited(as_image(ds), elements)


def spare_sources(out: str, sources: Sequence[str]) -> None:
    """Refuse to write over what is read: a target that is a source, holds it, or is there already within it.

    That is said before anything is read; `imagedata_xr.stores.originals` spares the files of the image itself.
    """
    if store_of(out) is not None:
        return
    path = os.path.expanduser(out)
    filled = os.path.isfile(path) or (os.path.isdir(path) and bool(os.listdir(path)))
    for source in sources:
        if store_of(source) is not None:
            continue
        each = glob.glob(os.path.expanduser(source)) or [source]
        for target, place in product(places_of_address(out), {p for one in each for p in places_of_address(one)}):
            if place[: len(target)] == target:
                raise click.UsageError(f"OUT ({out}) is or holds IN ({source}), which would be written over")
            if filled and target[: len(place)] == place:
                raise click.UsageError(f"OUT ({out}) is there already, within IN ({source}): choose another place")
