"""From an image to a file: which format, whose header, under which name."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

import xarray as xr

from ..errors import FormatError, ImagedataError, SourceError, warn
from ..model.image import as_image, in_memory
from ..stores.address import ArchiveAddress, archive_address
from ..stores.originals import sparing
from ..stores.url import reason, strip_credentials
from .originals import originals
from .seam import Format, WriteOptions, extension_for, format_named, format_of_target, formats, unknown_to, writes
from .template import with_templates


def write(
    image: xr.DataArray | xr.Dataset,
    url: str | os.PathLike[str],
    format: str | Sequence[str] | None,
    template: Any,
    geometry: Any,
    options: WriteOptions,
) -> Any:
    """Write an image; see ``.imd.write``."""
    target = os.fspath(url)
    spared = [p for one in (image, template, geometry) for p in originals(one)] if options.overwrite else []
    da = in_memory(with_templates(as_image(image), template, geometry, options.storage_options))
    names = [format] if isinstance(format, str) or format is None else list(format)
    if len(names) > 1 and "%p" not in target:
        raise FormatError(
            f"several formats ({', '.join(map(str, names))}) need '%p' in the path, which becomes their names"
        )
    chosen = [_choose(da, target, name, options.kind) for name in names]
    _check_known(chosen, options)
    several = len(chosen) > 1
    places = [_place(target, form, name if several else None) for name, form in zip(names, chosen, strict=True)]
    try:
        with sparing(spared):
            results = [form.write(da, place, options) for form, place in zip(chosen, places, strict=True)]
    except OSError as error:
        if isinstance(error, ImagedataError | FileExistsError):
            raise
        raise SourceError(f"{strip_credentials(target)} can't be written: {reason(error)}") from error
    return results if len(results) > 1 else results[0]


def _check_known(forms: Sequence[Format], options: WriteOptions) -> None:
    """Say which options no format has: raise `FormatError` for a promise that is not kept, else warn."""
    unknown, names = unknown_to(forms, options), ", ".join(form.name for form in forms)
    if "keep_uid" in unknown:
        raise FormatError(f"keep_uid=True keeps the UIDs of DICOM instances, and {names} has none: leave it out")
    if unknown:
        warn(f"{', '.join(f'{name}=' for name in unknown)} is not written: {names} has no place for it")


def _place(target: str, form: Format, among: str | None) -> str:
    path = target.replace("%p", form.name)
    # one name serves several formats only if each may add its extension, as the word for it `among` them has it
    if among is not None and not path.lower().endswith(form.extensions):
        path += extension_for(among)
    path = path if "://" in path else os.path.expanduser(path)
    address = archive_address(path)
    return path if address is None else _place_in(address, form)


def _place_in(address: ArchiveAddress, form: Format) -> str:
    """Place in an archive: a folder for DICOM, a file of other formats, called as the archive if it has no name."""
    if form.name in ("zarr", "netcdf"):
        raise FormatError(f"{form.name} is not written into archives, where it can't be opened: write it as it is")
    members = address.members
    if not members and form.name != "dicom":
        stem = address.base.replace("\\", "/").rpartition("/")[2].partition(".")[0]
        members = (stem + (form.extensions[0] if form.extensions else ""),)
    # the slash parts the name of the file from that of the archive for those who look for the last one
    return address.base + (f"?/{'&'.join(members)}" if members else "")


def _choose(image: xr.DataArray, target: str, name: str | None, kind: str | None = None) -> Format:
    """Format by name, else by the extension, else that of the source, else DICOM, which alone has kinds."""
    found = format_of_target(target) if name is None else format_named(name)
    if kind is not None:
        if found is not None and found.name != "dicom":
            raise FormatError(
                f"kind={kind!r} is one of DICOM's, and {found.name} has none: leave kind or the format out"
            )
        return format_named("dicom")
    if found is None and "source" in image.coords and not image.coords["source"].ndim:
        found = format_of_target(str(image.coords["source"].values.item()))
    if name is None and format_of_target(target) is None and (found is None or found.name == "dicom"):
        _say_unknown(target)
    return found or format_named("dicom")


def _say_unknown(target: str) -> None:
    """Warn of a target that is called like a file of an unknown format, and becomes a folder of DICOM files."""
    last = re.split(r"[/\\]", target.rstrip("/"))[-1]
    ending = re.search(r"[^.]\.([A-Za-z][A-Za-z0-9]{1,3})$", last)
    if ending and "://" not in target and archive_address(target) is None and not os.path.isdir(target):
        warn(
            f"'.{ending[1]}' is the extension of no format known here: {last} becomes a folder of DICOM files. "
            f"format= says another; it is one of {', '.join(n for n, f in formats().items() if writes(f))}"
        )
