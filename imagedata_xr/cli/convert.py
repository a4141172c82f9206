"""``imd convert``: from any source to any format."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ..errors import FormatError, ImagedataError, NotFoundError
from ..formats.reading import open_one
from ..formats.seam import WriteOptions, Written, format_named, format_of_target
from ..formats.writing import write
from ..model.image import as_image
from ..options import set_options
from ..stores.address import archive_address
from ..stores.registry import store_of
from ..stores.url import source_name
from .sources import as_source, keywords, numbered, read_options, reading_options
from .talk import Counter, Transfers, complain, say, size


@click.command(short_help="Write an image, or every image, in another format.")
@click.argument("out")
@click.argument("sources", metavar="IN...", nargs=-1, required=True)
@click.option(
    "--format", "formats", multiple=True, help="dicom, nifti, ...; several need %p in OUT.  [default: by the extension]"
)
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
    progress: bool | None,
    **given: Any,
) -> None:
    """Read the image of IN and write it to OUT. Several IN are one source.

    The format is that of --format, else the one that the extension of OUT means, else that of IN, else DICOM, of
    which OUT is a folder.
    """
    if every and series_number is not None:
        raise click.UsageError("--series-number would give all series one number: it can't be used with --all")
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
        failed = _convert_all(out, sources, formats, given, template, geometry, how, elements)
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
    """Refuse to write over what is read: a target that is a source, holds it, or is there already within it."""
    if "://" in out:
        return
    target = os.path.realpath(os.path.expanduser(out))
    filled = os.path.isfile(target) or (os.path.isdir(target) and bool(os.listdir(target)))
    for source in sources:
        if "://" in source or "::" in source:
            continue
        given = os.path.expanduser(source)
        for place in map(os.path.realpath, (given, *glob.iglob(given))):
            if place == target or place.startswith(target.rstrip(os.sep) + os.sep):
                raise click.UsageError(f"OUT ({out}) is or holds IN ({source}), which would be written over")
            if filled and target.startswith(place.rstrip(os.sep) + os.sep):
                raise click.UsageError(f"OUT ({out}) is there already, within IN ({source}): choose another place")


def _convert_all(
    out: str,
    sources: Sequence[str],
    formats: Sequence[str],
    given: dict[str, Any],
    template: str | None,
    geometry: str | None,
    options: WriteOptions,
    elements: Mapping[str, Any],
) -> int:
    """Write each image under its number, as ``imd info`` tells it; say which fail, and return how many did."""
    names = list(formats) or ["dicom"]
    if format_of_target(out) is not None:
        raise click.UsageError(f"--all writes into a folder, and {out} is the name of a file; --format says the format")
    if len(names) > 1 and "%p" not in out:
        raise FormatError(f"several formats ({', '.join(names)}) need '%p' in OUT, which becomes their names")
    folders = {name: out.replace("%p", name).rstrip("/") for name in names}
    for folder in folders.values():
        check_folder(folder, options.overwrite)
    images, others = numbered(sources, read_options(given))
    if not images:
        raise NotFoundError(f"the source holds no image, only {len(others)} series without pixels")
    failed = 0
    for found in images:
        try:
            ds = _with(found.node.open(), elements)
            for name, folder in folders.items():
                target = f"{folder}{_part(folder)}{found.number:04d}{extension_of(name)}"
                tell(write(ds, target, name, template, geometry, options))
        except (ImagedataError, FileExistsError) as error:
            if given["errors"] == "raise":
                raise
            complain(error, f"image {found.number} ({found.node.title}) is not written: ")
            failed += 1
    if others:
        say(f"imd: {len(others)} series without pixels are left out", err=True)
    return failed


def _part(folder: str) -> str:
    """What stands between a folder and a name in it."""
    address = archive_address(folder)
    return "/" if address is None or address.members else "?"


def check_folder(folder: str, overwrite: bool) -> None:
    """Raise `FileExistsError` for a folder that has something in it."""
    place = os.path.expanduser(folder)
    if "://" not in folder and not overwrite and os.path.isdir(place) and os.listdir(place):
        raise FileExistsError(f"{folder} is there already and not empty: overwrite=True replaces files in it")


def extension_of(name: str) -> str:
    """Extension of the files of a format; none for DICOM, which is a folder."""
    form = format_named(name)
    return "" if name == "dicom" else (form.extensions or ("",))[0]


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
