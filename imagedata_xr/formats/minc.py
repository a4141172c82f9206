"""MINC 1 (netCDF 3) and MINC 2 (HDF5) of the Montreal Neurological Institute, read only, by nibabel."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, SourceError
from ..model.geometry import LPS_TO_RAS
from ..model.lazy import LazyArray, axis_indices
from ..stores.ranges import GZIP_MAGIC, Gzip
from ..stores.url import File, file_name
from .carried import Known
from .incoming import Incoming, check_place
from .plain import Opened, PlainFormat
from .raw_array import exact_cast
from .seam import ReadOptions

_HDF5 = b"\x89HDF\r\n\x1a\n"
_NETCDF = (b"CDF\x01", b"CDF\x02")


class Minc(PlainFormat):
    """MINC images: values with the range of each slice, exact geometry. MINC 2 needs the package h5py."""

    name = "minc"
    extensions: tuple[str, ...] = (".mnc",)
    description = "MINC 1 and 2 of the MNI; read only"

    def open(self, file: File, options: ReadOptions) -> Opened:
        """Read what the header says."""
        name = file_name(file)
        with opened(file) as minc:
            try:
                dims, shape = list(minc._dim_names), tuple(int(n) for n in minc.get_data_shape())
                stored = np.dtype(minc.get_data_dtype())
                affine, time = minc.get_affine(), _time(minc, dims)
            except (KeyError, ValueError, AttributeError, TypeError, IndexError, AssertionError) as error:
                raise SourceError(f"{name} is damaged, or no image of MINC: {type(error).__name__} {error}") from error
        spatial = [d for d in dims if d.endswith("space")]
        if len(spatial) != 3 or dims[-3:] != spatial or len(dims) > 4:
            raise FormatError(
                f"{name} has the axes {', '.join(dims)}: read are three spatial ones, and time before them. "
                "mincreshape can reorder them"
            )
        lps = LPS_TO_RAS @ affine  # its columns are the axes of the array: slices, rows, columns
        found = Incoming(
            name=name,
            shape=(*shape[:-4:-1], *(shape[:1] if len(shape) > 3 else ())),
            stored=stored,
            affine=np.asarray(lps),
            known=time,
        )
        return Opened(check_place(found), _Maker(file))


@dataclass(frozen=True)
class _Maker:
    """Makes the lazy array of a file."""

    file: File

    def __call__(self, found: Incoming, numbers: NDArray[np.intp], flip: bool, options: ReadOptions) -> LazyArray:
        scale = options.mask_and_scale and found.stored.kind in "iu"
        values = np.dtype(np.float64) if scale else found.value_type(options)
        wanted = values if options.dtype is None else np.dtype(options.dtype)
        return _MincArray(self.file, numbers, found.grid, flip, scale, values, wanted, len(found.shape) > 3)


@dataclass
class _MincArray:
    """A `LazyArray` over the voxels of a file, scaled slice by slice."""

    file: File
    numbers: NDArray[np.intp]
    grid: tuple[int, ...]
    flip: bool
    scale: bool
    values: np.dtype[Any]
    dtype: np.dtype[Any]
    lead: bool
    shape: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.shape = (*self.numbers.shape, *self.grid)

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read the boxes around what the key names, one per volume, and take that out of them."""
        at = [axis_indices(k, n) for k, n in zip(key, self.shape, strict=True)]
        lead = self.numbers.ndim
        volumes, inner = self.numbers[np.ix_(*at[:lead])], at[lead:]
        if self.flip:
            inner[1] = self.grid[1] - 1 - inner[1]
        out = np.empty([len(a) for a in at], dtype=self.dtype)
        if out.size:
            bounds = [slice(int(a.min()), int(a.max()) + 1) for a in inner]
            with opened(self.file) as minc:
                for place in np.ndindex(*volumes.shape):
                    box = self._box(minc, (*([int(volumes[place])] if self.lead else []), *bounds))
                    part = box[np.ix_(*[a - b.start for a, b in zip(inner, bounds, strict=True)])]
                    out[place] = exact_cast(part.astype(self.values), self.dtype)
        return out[tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in key)]

    def _box(self, minc: Any, key: tuple[Any, ...]) -> NDArray[Any]:
        try:
            if self.scale:
                return np.array(minc.get_scaled_data(key))
            image = minc._image
            return np.array(image.data[key] if hasattr(image, "typecode") else image[key])
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise SourceError(f"{file_name(self.file)} is damaged, its voxels can't be read: {error}") from error


@contextmanager
def opened(file: File) -> Iterator[Any]:
    """Open a file as nibabel's `Minc1File` or `Minc2File`.

    Raises
    ------
    SourceError
        If it is none.
    FormatError
        If it is MINC 2, and h5py is not installed.
    """
    name = file_name(file)
    with ExitStack() as stack:
        stream = stack.enter_context(file.fs.open(file.path, "rb"))
        head = stream.read(8)
        if head[:2] == GZIP_MAGIC:
            packed = Gzip(file)
            stream = io.BytesIO(packed.read([0], [packed.length()])[0])
            head = stream.read(8)
        stream.seek(0)
        try:
            minc = _minc2(stream, name, stack) if head == _HDF5 else _minc1(stream, head, name)
        except (OSError, ValueError, KeyError, AttributeError, TypeError, IndexError, RuntimeError) as error:
            if isinstance(error, SourceError | FormatError):
                raise
            if "rregular" in str(error):
                raise FormatError(f"{name} has an axis with uneven steps, which is not read: mincresample") from error
            raise SourceError(f"{name} is damaged, or no image of MINC: {type(error).__name__} {error}") from error
        yield minc


def _minc1(stream: Any, head: bytes, name: str) -> Any:
    from nibabel.minc1 import Minc1File
    from scipy.io import netcdf_file

    if head[:4] not in _NETCDF:
        raise SourceError(f"{name} is no file of MINC: it begins with {head!r}")
    kind: Any = Minc1File
    try:
        return kind(netcdf_file(stream, "r", mmap=False))
    except MemoryError as error:  # lengths that damage made large
        raise SourceError(f"{name} is damaged: its header speaks of more than fits into memory") from error


def _minc2(stream: Any, name: str, stack: ExitStack) -> Any:
    if find_spec("h5py") is None:
        raise FormatError(f"{name} is MINC 2, which needs the package h5py: pip install 'imagedata-xr[mat]'")
    import h5py
    from nibabel.minc2 import Minc2File

    kind: Any = Minc2File
    return kind(stack.enter_context(h5py.File(stream, "r")))


def _time(minc: Any, dims: list[str]) -> Known:
    """Start of the volumes, s, where a regular axis of time says it."""
    if len(dims) < 4 or dims[0] != "time":
        return Known()
    axis = minc._dims[0]
    step, start = float(np.ravel(getattr(axis, "step", 0))[0]), float(np.ravel(getattr(axis, "start", 0))[0])
    if not np.isfinite([step, start]).all() or step <= 0:
        return Known()
    count = int(minc.get_data_shape()[0])
    return Known({"time": np.round(start + step * np.arange(count), 9)}, {"time": "time axis"}, "time")
