"""MAT files of version 7.3, which are HDF5: axes in reverse order, classes as attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, SourceError
from ..model.lazy import axis_indices
from ..stores.url import File, file_name
from .mat_scan import Variable
from .outgoing import Outgoing, Put, Sink
from .raw_array import exact_cast, scaled

_BLOCK = 512  # bytes before the HDF5 content
_CLASSES = {"f8": "double", "f4": "single", "c16": "double", "c8": "single", "b1": "logical"}


def require() -> Any:
    """Return h5py, or raise `FormatError`."""
    if find_spec("h5py") is None:
        raise FormatError("MAT files of version 7.3 need the package h5py: pip install 'imagedata-xr[mat]'")
    import h5py

    return h5py


@contextmanager
def opened(file: File) -> Iterator[Any]:
    """Open a file; what goes wrong in it is a `SourceError`."""
    h5py = require()
    try:
        with file.fs.open(file.path, "rb") as stream, h5py.File(stream, "r") as content:
            yield content
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        if isinstance(error, SourceError | FormatError):
            raise
        raise SourceError(f"{file_name(file)} is damaged, it can't be read: {error}") from error


def variables(content: Any) -> list[Variable]:
    """Variables of an open file."""
    found = []
    for name in content:
        if name.startswith("#"):
            continue
        item = content[name]
        said = item.attrs.get("MATLAB_class", b"")
        kind = said.decode() if isinstance(said, bytes) else str(said)
        dtype: np.dtype[Any] | None = None
        if hasattr(item, "dtype"):
            dtype = item.dtype
            if dtype.names == ("real", "imag"):
                dtype, kind = np.dtype(f"c{2 * dtype['real'].itemsize}"), f"complex {kind}"
            if (
                dtype.kind not in "iufc"
                or kind in ("char", "cell", "struct", "function_handle")
                or item.attrs.get("MATLAB_empty")
                or "MATLAB_object_decode" in item.attrs  # a text, a date, a table
            ):
                dtype = None
        else:
            kind = "sparse" if "MATLAB_sparse" in item.attrs else kind or "struct"
        shape = tuple(reversed(item.shape)) if hasattr(item, "shape") else (1, 1)
        found.append(Variable(name, shape, dtype, kind or str(dtype)))
    return found


def struct_of(content: Any, name: str) -> dict[str, Any] | None:
    """Texts and arrays of numbers of a struct; None where there is none of this name."""
    if name not in content or not hasattr(content[name], "keys"):
        return None
    out: dict[str, Any] = {}
    for key, item in content[name].items():
        if not hasattr(item, "dtype") or item.attrs.get("MATLAB_empty"):
            continue
        if item.attrs.get("MATLAB_class", b"") == b"char":
            out[key] = np.asarray(item[()]).ravel().astype("<u2").tobytes().decode("utf-16-le")
        elif item.dtype.kind in "iuf":
            out[key] = np.asarray(item[()]).T
    return out


@dataclass
class HdfArray:
    """A `LazyArray` over a variable; only what the key names is read.

    Attributes
    ----------
    file : File
    name : str
    numbers : ndarray of int
        Number in the file of each volume; its shape is that of the leading dims.
    grid : tuple of int
        Slices, rows, columns, and 3 for colour.
    axes : tuple of int
        Lengths of the axes of volumes in the file, the fastest first.
    dims : int
        Axes of the variable.
    flip : bool
    values, dtype : numpy.dtype
        Of the values, and as they are asked for.
    """

    file: File
    name: str
    numbers: NDArray[np.intp]
    grid: tuple[int, ...]
    axes: tuple[int, ...]
    dims: int
    flip: bool
    values: np.dtype[Any]
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.shape = (*self.numbers.shape, *self.grid)

    def read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read the box around what the key names, volume by volume."""
        at = [axis_indices(k, n) for k, n in zip(key, self.shape, strict=True)]
        lead = self.numbers.ndim
        volumes, inner = self.numbers[np.ix_(*at[:lead])], at[lead:]
        if self.flip:
            inner[1] = self.grid[1] - 1 - inner[1]
        out = np.empty([len(a) for a in at], dtype=self.dtype)
        if out.size:
            with opened(self.file) as content:
                item = content[self.name]
                for place in np.ndindex(*volumes.shape):
                    part = self._part(item, int(volumes[place]), inner)
                    out[place] = exact_cast(scaled(part, 1.0, 0.0, self.values), self.dtype)
        return out[tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in key)]

    def _part(self, item: Any, volume: int, inner: list[NDArray[np.intp]]) -> NDArray[Any]:
        bounds = [slice(int(a.min()), int(a.max()) + 1) for a in inner]
        slices, rows, cols, *colour = bounds
        which = np.unravel_index(volume, self.axes, order="F") if self.axes else ()
        # MATLAB has rows, columns, slices, volumes; HDF5 the reverse; axes of length 1 at its end are not there
        ours = [rows, cols, slices, *(int(k) for k in which), *colour][: self.dims]
        data = np.asarray(item[tuple(reversed(ours))])
        if data.dtype.names:
            parts, data = data, np.empty(data.shape, f"c{2 * data.dtype['real'].itemsize}")
            data.real, data.imag = parts["real"], parts["imag"]  # a sum with 1j * infinity has NaN as its real part
        data = data.T.reshape([b.stop - b.start for b in (rows, cols, slices, *colour)])
        data = np.moveaxis(data, 2, 0)
        return data[np.ix_(*[a - b.start for a, b in zip(inner, bounds, strict=True)])]


# --- writing ------------------------------------------------------------------------------------------------------


def hdf_sink(place: Path, out: Outgoing, struct: Mapping[str, Any], level: int) -> Sink:
    """Sink into a file of version 7.3 with the variable ``A`` and a struct."""
    h5py = require()

    @contextmanager
    def sink(dtype: np.dtype[Any]) -> Iterator[Put]:
        cols, rows, slices = out.spatial
        shape = (*([3] if out.rgb else []), *([out.count] if out.count > 1 or out.rgb else []), slices, cols, rows)
        disk = np.dtype("u1") if dtype.kind == "b" else dtype
        if dtype.kind == "c":
            disk = np.dtype([(part, f"f{dtype.itemsize // 2}") for part in ("real", "imag")])
        how = {"chunks": (*[1] * (len(shape) - 2), cols, rows), "compression": level} if level else {}
        with h5py.File(place, "w", userblock_size=_BLOCK) as content:
            item = content.create_dataset("A", shape, disk, **how)
            _mark(item, dtype)
            number = 0

            def put(volume: NDArray[Any]) -> None:
                nonlocal number
                data = volume.swapaxes(1, 2) if not out.rgb else volume.transpose(3, 0, 2, 1)
                if dtype.kind == "c":
                    data = np.ascontiguousarray(data).view(disk)
                key = (slice(None), number) if out.rgb else (number,) if out.count > 1 else ()
                item[key] = data
                number += 1

            yield put
            _put_struct(content.create_group("imagedata_xr"), struct)
        with place.open("r+b") as f:
            text = "MATLAB 7.3 MAT-file, written by imagedata_xr, HDF5 schema 1.00 ."
            f.write(text.encode().ljust(116) + bytes(8) + (0x0200).to_bytes(2, "little") + b"IM")

    return sink


def _mark(item: Any, dtype: np.dtype[Any]) -> None:
    item.attrs["MATLAB_class"] = np.bytes_(_CLASSES.get(dtype.str[1:], str(dtype)))
    if dtype.kind == "b":
        item.attrs["MATLAB_int_decode"] = np.int32(1)


def _put_struct(group: Any, struct: Mapping[str, Any]) -> None:
    group.attrs["MATLAB_class"] = np.bytes_("struct")
    for key, value in struct.items():
        if isinstance(value, Mapping):
            _put_struct(group.create_group(key), value)
        elif isinstance(value, str):
            letters = np.frombuffer(value.encode("utf-16-le"), "<u2").reshape(-1, 1)
            item = group.create_dataset(key, data=letters)
            item.attrs["MATLAB_class"], item.attrs["MATLAB_int_decode"] = np.bytes_("char"), np.int32(2)
        else:
            _mark(group.create_dataset(key, data=_matrix(value).T), np.dtype(np.float64))


def _matrix(values: Sequence[float] | NDArray[Any]) -> NDArray[np.float64]:
    """Array of two axes or more, as MATLAB has them."""
    array = np.asarray(values, dtype=np.float64)
    return array if array.ndim > 1 else array.reshape(1, -1)
