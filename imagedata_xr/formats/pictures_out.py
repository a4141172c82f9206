"""From an image to pictures: the window, names of files, and what is said of what is lost."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ..dicom.headers.as_read import ChangedError
from ..errors import FormatError, GeometryError, warn
from ..model.image import as_image, axis_of, canonical, space_of, volume_dims
from .carried import NEVER, tells
from .fit import Fit, Holds
from .names import Names
from .outgoing import Outgoing, volumes_of
from .seam import WriteOptions, Written, check_format_options
from .several import extension_of
from .whole import Whole
from .window import Window


class PictureWriter:
    """What formats of pictures share in writing: one file per slice.

    Attributes
    ----------
    depths : tuple of int
        Bits of a grey value that a window may be spread over.
    exact : Holds
        Types in which values are kept as they are.
    writing : tuple of str
        Names of ``format_options``.
    lossy : bool
        Whether packing changes values.
    """

    name: ClassVar[str]
    extensions: tuple[str, ...]
    depths: ClassVar[tuple[int, ...]] = (8,)
    exact: ClassVar[Holds] = Holds("PNG", ("u1", "u2"))
    writing: ClassVar[tuple[str, ...]] = ("window", "bits")
    lossy: ClassVar[bool] = False

    def put(
        self, pixels: NDArray[Any], place: Path, spacing: tuple[float, float] | None, how: Mapping[str, Any]
    ) -> None:
        """Write one picture."""
        raise NotImplementedError

    def write(self, image: Any, target: str, options: WriteOptions) -> Any:
        """Write one image: each slice of each volume is a picture.

        Several pictures are numbered; the name may be a pattern, such as ``a_%(volume)02d_%(slice)03d.png``.

        Raises
        ------
        FormatError
            If pictures can't hold the image, or not all values as they are where that is asked for.
        FileExistsError
            If a file exists and ``options.overwrite`` is false.
        """
        called, how = os.path.basename(str(target)), options.format_options
        label = self.name.upper()
        extension = extension_of(called, self.extensions)
        if not extension:
            raise FormatError(f"a file of {label} is called {' or '.join(self.extensions)}, not {called!r}")
        check_format_options(how, self.writing, f"writing {label}")
        out = _outgoing(image, label)
        shown = Window.asked(out.image, how, self.depths, self.exact)
        names = self._names(called, extension, out)
        whole = Whole(str(target), names, [], options.overwrite, options.storage_options)
        whole.also = tuple(_stale(whole, called, extension, names))
        whole.check()
        job = partial(_save, self, out, shown, whole, options)
        if options.compute:
            return job()
        from dask.delayed import delayed

        return delayed(job, pure=False)()

    def _names(self, called: str, extension: str, out: Outgoing) -> list[str]:
        count, slices = out.count, out.spatial[2]
        if Names.is_pattern(called):
            pattern = Names(called)
            pattern.check()
        elif count * slices == 1:
            return [called]
        else:
            pattern = Names(_numbered(called, extension, count, slices))
        return [name for row in pattern.all_of(count, slices) for name in row]


def _numbered(called: str, extension: str, volumes: int, slices: int) -> str:
    """Pattern of a name: the numbers of volume and slice before the extension, where there are several."""
    stem = called[: -len(extension)].replace("%", "_")
    fields = [("volume", volumes), ("slice", slices)]
    numbers = "".join(f"_%({what})0{max(3, len(str(n)))}d" for what, n in fields if n > 1)
    return stem + numbers + called[-len(extension) :]


def _stale(whole: Whole, called: str, extension: str, names: list[str]) -> list[str]:
    """Pictures of an earlier image of the same name, which would be taken as further slices of this one."""
    stem = called[: -len(extension)]
    if len(names) == 1 or Names.is_pattern(called):
        return []
    shape = re.compile(re.escape(stem.replace("%", "_")) + r"(_\d{3,}){1,2}" + re.escape(called[-len(extension) :]))
    return sorted(n for n in whole.beside() if shape.fullmatch(n) and n not in names)


def _outgoing(image: Any, label: str) -> Outgoing:
    if "segment" in as_image(image).dims:
        raise FormatError(f"{label} has no segments: write one, image.sel(segment=n), or a map of labels")
    da = canonical(as_image(image))
    if da.dtype.kind not in "biuf":
        raise FormatError(f"{label} holds no values of type {da.dtype}: write abs(image), image.real or image.imag")
    if "rgb" in da.dims and (da.dtype != np.uint8 or da.sizes["rgb"] != 3):
        raise FormatError(f"{label} holds colour as 3 values of uint8, not {da.sizes['rgb']} of {da.dtype}")
    if 0 in da.shape:
        raise FormatError(f"the image is empty, its shape is {da.shape}")
    return Outgoing(da, None, Holds(label, ("u1",)))


def _save(form: PictureWriter, out: Outgoing, asked: Window, whole: Whole, options: WriteOptions) -> Written:
    """Write by the window; anew by another where the values are not those that it is of."""
    try:
        return _put(form, out, asked, whole, options)
    except ChangedError:
        if asked.otherwise is None:
            raise
    return _put(form, out, asked.otherwise, whole, options)


def _put(form: PictureWriter, out: Outgoing, asked: Window, whole: Whole, options: WriteOptions) -> Written:
    label, how, image = out.holds.name, options.format_options, out.image
    if asked.image is not None:
        out = replace(out, image=asked.image)
    shown = asked if out.rgb else asked.settled(partial(volumes_of, out), Fit(out.image, form.exact))
    spacing = spacing_of(image)
    with whole.files() as places:
        pages = _pages(out, shown, options)
        for name, page in zip(whole.names, pages, strict=True):
            form.put(page, places[name], spacing, how)
        said = _lost(image) + ([] if out.rgb else shown.said())
        if form.lossy:
            said.insert(0, "JPEG packs with loss: values differ from those of the image, PNG has none")
        if said:
            warn(f"{label} pictures: {'; '.join(said)}")
        size = sum(places[n].stat().st_size for n in whole.names)
    return Written(form.name, tuple(whole.shown(n) for n in whole.names), len(whole.names), size)


def _pages(out: Outgoing, shown: Window, options: WriteOptions) -> Iterator[NDArray[Any]]:
    for k, volume in enumerate(volumes_of(out)):
        for page in volume:
            yield np.ascontiguousarray(page if out.rgb else shown.of(page))
        if options.progress is not None:
            options.progress(k + 1, out.count)


def _lost(image: xr.DataArray) -> list[str]:
    """Say what of the labels no picture holds."""
    lost = [str(n) for n in image.coords if str(n) not in NEVER and not tells(str(n))]
    dims = [str(d) for d in volume_dims(image) if image.sizes[d] > 1]
    lost = dims + [n for n in lost if n not in dims]
    place = [] if space_of(image) is None else ["the place in the patient is not written"]
    return place + ([f"the labels {', '.join(lost)} are not written"] if lost else [])


def spacing_of(image: xr.DataArray) -> tuple[float, float] | None:
    """Distance of rows and of columns, mm: of the place in the patient, else as it was read from a picture."""
    if space_of(image) is not None:
        try:
            steps = [axis_of(image, name)[1] for name in ("row", "col")]
        except GeometryError:
            return None
    else:
        given = image.attrs.get("NominalScannedPixelSpacing")
        steps = list(np.ravel(given).astype(float)) if given is not None else []
    if len(steps) != 2 or any(s is None or not abs(s) > 0 for s in steps):
        return None
    return abs(float(steps[0] or 0)), abs(float(steps[1] or 0))
