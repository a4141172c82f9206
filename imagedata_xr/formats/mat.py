"""MAT files of MATLAB and Octave, versions 4, 5, 7 and 7.3."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, SourceError, warn
from ..model.lazy import LazyArray
from ..model.orders import ORDERS, label_for
from ..stores.ranges import Plain
from ..stores.url import File, file_name, reason
from . import mat_elements, mat_hdf, mat_out, mat_scan
from .carried import carry, compact
from .fit import Fit, Holds
from .incoming import Incoming, Loaded, Maker, check_place
from .mat_scan import Variable
from .outgoing import Outgoing, load_voxels, write_voxels
from .plain import Opened, PlainFormat, level_of
from .seam import ReadOptions, WriteOptions
from .timing import order_names
from .whole import check_room

NAME = "A"
STRUCT = "imagedata_xr"
_VERSIONS = ("4", "5", "7", "7.3")
_LARGEST = 2**31 - 1  # bytes of a variable of version 5 and 7
_NOTE = (
    "affine * [row-1; col-1; slice-1; 1] is the position of A(row,col,slice,volume) in the patient, mm, to the left, "
    "to the back, to the head (LPS, as in DICOM); labels in s, ms, degree, s/mm2"
)


class Mat(PlainFormat):
    """MAT files: the variable ``A`` (row, column, slice, volume), and a struct ``imagedata_xr`` with place and labels.

    Format options for reading: ``variable``, the name of an array. For writing: ``version``, one of ``"4"`` (a single
    slice), ``"5"``, ``"7"`` (packed), ``"7.3"`` (HDF5, of any size; needs the package h5py), and for 7.3 ``compress``.
    """

    name = "mat"
    extensions: tuple[str, ...] = (".mat",)
    description = "MATLAB and Octave, versions 4, 5, 7 and 7.3; variable A and a struct with place and labels"
    holds = Holds("MAT", ("u1", "i2", "u2", "i4", "f4", "f8", "i1", "u4", "i8", "u8", "c8", "c16", "b1"))
    reading = ("variable",)
    writing = ("version", "compress")

    def is_ours(self, file: File) -> bool:
        """Whether it is a MAT file that is more than SPM's matrices, which lie beside images of other formats."""
        version = mat_scan.version_of(Plain(file).head(132))
        if version not in ("4", "5"):
            return True
        try:
            return not {v.name for v in mat_scan.variables(file, version)} <= {"M", "mat"}
        except SourceError:
            return True  # reading it says what is wrong

    def open(self, file: File, options: ReadOptions) -> Opened:
        """List the variables, and read the struct; the array only when asked for."""
        name = file_name(file)
        version = mat_scan.version_of(Plain(file).head(132))
        if not version:
            raise SourceError(f"{name} is no MAT file; damaged, or another format")
        asked = options.format_options.get("variable")
        if version == "7.3":
            with mat_hdf.opened(file) as content:
                there = mat_hdf.variables(content)
                struct = mat_hdf.struct_of(content, STRUCT)
        else:
            there = mat_scan.variables(file, version)
            struct = _struct(file, there)
        variable = _chosen(there, asked, NAME if struct is not None else None, name)
        return _opened(file, name, version, variable, struct if variable.name == NAME else None)

    def check(self, out: Outgoing, extension: str, options: WriteOptions) -> None:
        """Raise for what a version can't hold."""
        version = _version(options)
        dtype = np.dtype(np.uint8) if out.rgb else Fit(out.image, _holds(version)).dtype
        _check_size(version, int(np.prod(out.shape, dtype=object)) * dtype.itemsize * (3 if out.rgb else 1))
        if version == "7.3":
            mat_hdf.require()
        elif "compress" in options.format_options:
            raise FormatError("format_options compress is for version='7.3'; version='7' is packed, '5' is not")
        if version == "4" and (out.count > 1 or out.spatial[2] > 1 or out.rgb):
            raise FormatError(f"MAT version 4 holds one slice of one volume, not {out.shape}: version='5' holds more")

    def save(self, out: Outgoing, places: Sequence[Path], names: Sequence[str], options: WriteOptions) -> None:
        """Write the variable and the struct."""
        import scipy.io

        version, struct = _version(options), _contents(out, options)
        if version == "7.3":
            level = level_of(options.format_options)
            check_room(places[0], out.image.nbytes)
            write_voxels(out, mat_hdf.hdf_sink(places[0], out, struct, level), options)
            return
        save: Any = partial(
            scipy.io.savemat, appendmat=False, format="4" if version == "4" else "5",
            do_compression=version == "7", long_field_names=version != "4", oned_as="row",
        )  # fmt: skip
        check = partial(_check_size, version)
        if version != "4" and not out.rgb and out.image.dtype.kind != "c":
            save(others := BytesIO(), {STRUCT: struct})
            shape = tuple(out.shape[k] for k in (1, 0, *range(2, len(out.shape))))
            sink = mat_out.variable_sink(places[0], NAME, shape, version == "7", others.getvalue(), check)
            write_voxels(out, sink, options)
            return
        # colours and imaginary parts come after all other numbers
        voxels = load_voxels(Outgoing(out.image, out.affine, _holds(version)), options)
        check(voxels.nbytes)
        array = voxels.transpose(2, 3, 1, 0, *range(4, voxels.ndim))
        array = array[..., 0] if out.count == 1 and not out.rgb else array
        if version == "4":
            text = {k: v for k, v in struct.items() if k in ("affine", "spacing", "orientation")}
            save(str(places[0]), {NAME: array[..., 0], **text, STRUCT: struct["json"]})
        else:
            save(str(places[0]), {NAME: array, STRUCT: struct})


# --- reading ------------------------------------------------------------------------------------------------------


def _chosen(there: Sequence[Variable], asked: str | None, own: str | None, name: str) -> Variable:
    """Variable asked for, else our own, else the only one that can be an image."""
    listed = "; ".join(v.text for v in there) or "none"
    by_name = {v.name: v for v in there}
    if asked is not None:
        if asked not in by_name:
            raise FormatError(f"{name} has no variable {asked!r}; it has {listed}")
        if by_name[asked].dtype is None:
            raise FormatError(f"the variable {asked!r} of {name} is no array of numbers; it has {listed}")
        return by_name[asked]
    if own is not None and own in by_name and by_name[own].dtype is not None:
        return by_name[own]
    numeric = [v for v in there if v.dtype is not None and 0 not in v.shape]
    planes = [v for v in numeric if sum(n > 1 for n in v.shape) > 1] if len(numeric) > 1 else numeric
    if len(planes) != 1:
        what = f"{len(planes)} arrays that could be the image"
        if not planes:
            what = f"no array of {'two axes' if numeric else 'numbers'}"
        raise FormatError(
            f"{name} has {what}: {listed}"
            + (f". format_options={{'variable': {(planes or numeric)[0].name!r}}} chooses one" if numeric else "")
        )
    return planes[0]


def _opened(file: File, name: str, version: str, variable: Variable, struct: Mapping[str, Any] | None) -> Opened:
    content = _content(struct, name) if struct is not None else None
    colour = content is not None and content.get("colour") is True and variable.shape[-1] == 3
    shape = variable.shape[:-1] if colour else variable.shape
    if len(shape) < 2 or variable.dtype is None or 0 in shape:
        raise FormatError(f"the variable {variable.text} of {name} is no image")
    rows, cols, slices, *volumes = (*shape, 1)[: max(3, len(shape))]
    affine = _affine(struct, content, (rows, cols, slices), name)
    found = Incoming(
        name=name,
        shape=(cols, rows, slices, *volumes),
        stored=variable.dtype,
        affine=affine,
        content=content,
        channels=3 if colour else 1,
    )
    make: Maker = _Hdf(file, variable, tuple(volumes)) if version == "7.3" else _Whole(file, variable)
    return Opened(check_place(found), make)


def _content(struct: Mapping[str, Any], name: str) -> dict[str, Any]:
    try:
        content = json.loads(str(struct["json"]))
        if not isinstance(content, dict):
            raise ValueError("no object")
        return content
    except (KeyError, ValueError) as error:
        raise SourceError(f"{name} has damaged labels in the struct {STRUCT}: {error}") from error


def _affine(
    struct: Mapping[str, Any] | None, content: Mapping[str, Any] | None, shape: tuple[int, int, int], name: str
) -> NDArray[np.float64] | None:
    """Affine from index (slice, row, col) to LPS mm."""
    if struct is None or content is None or np.size(struct.get("affine", ())) != 16:
        return None
    if content.get("size") != list(shape):
        warn(
            f"{name} has the variable {NAME} of size {list(shape)}, and a struct that speaks of {content.get('size')}: "
            "its place in the patient is not known any more, its labels are indices"
        )
        return None
    matrix = np.asarray(struct["affine"], dtype=np.float64).reshape(4, 4)
    return matrix[:, [2, 0, 1, 3]]


def _struct(file: File, there: Sequence[Variable]) -> dict[str, Any] | None:
    """Struct of a file of version 5 or 7; of version 4 the variables that stand for it."""
    kinds = {v.name: v.kind for v in there}
    if kinds.get(STRUCT) == "struct":
        found = mat_elements.value_of(file, next(v for v in there if v.name == STRUCT))
        return found if isinstance(found, dict) else None
    if kinds.get(STRUCT) == "char":
        found = _load(file, [STRUCT, *(n for n in ("affine",) if n in kinds)])
        return {"json": _item(found[STRUCT]), "affine": found.get("affine", ())}
    return None


def matrices(file: File, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Arrays of real numbers of a file of version 4, 5 or 7, of those of some names that are there.

    Raises
    ------
    SourceError
        If it is damaged.
    """
    version = mat_scan.version_of(Plain(file).head(132))
    if version not in ("4", "5"):
        raise SourceError(f"{file_name(file)} is no MAT file of version 4, 5 or 7; damaged, or another format")
    there = [v for v in mat_scan.variables(file, version) if v.name in names and v.dtype is not None]
    return {v.name: _array(file, v) for v in there if v.dtype is not None and v.dtype.kind != "c"}


def _array(file: File, variable: Variable) -> NDArray[Any]:
    """Array of a variable of version 4, 5 or 7; scipy's reader of version 5 ends the process where it is damaged."""
    five = variable.place[1] > 0  # version 4 has no elements
    return np.asarray(mat_elements.value_of(file, variable) if five else _load(file, [variable.name])[variable.name])


def _item(value: Any) -> Any:
    array = np.asarray(value)
    return "".join(array.ravel().tolist()) if array.dtype.kind == "U" else array


def _load(file: File, names: Sequence[str]) -> dict[str, Any]:
    """Variables of a file of version 4."""
    import scipy.io

    name = file_name(file)
    try:
        with file.fs.open(file.path, "rb") as f:
            found: dict[str, Any] = scipy.io.loadmat(f, variable_names=list(names))
    except OSError as error:
        raise SourceError(f"{name} can't be read: {reason(error)}") from error
    except Exception as error:  # scipy raises whatever damaged bytes lead to
        raise SourceError(f"{name} is damaged, it can't be read: {type(error).__name__} {error}") from error
    if missing := [n for n in names if n not in found]:
        raise SourceError(f"{name} is damaged: its variables {', '.join(missing)} can't be read")
    return found


@dataclass(frozen=True)
class _Whole:
    """Makes the lazy array of a file that is read as a whole."""

    file: File
    variable: Variable

    def __call__(self, found: Incoming, numbers: NDArray[np.intp], flip: bool, options: ReadOptions) -> LazyArray:
        load = partial(_voxels, self.file, self.variable, found.grid)
        return Loaded(load, found, numbers, flip, options)


def _voxels(file: File, variable: Variable, grid: tuple[int, ...]) -> NDArray[Any]:
    """Array (volume, slice, row, col[, rgb]) in the type of its class."""
    array = _array(file, variable)
    if array.shape != variable.shape or variable.dtype is None:
        raise SourceError(f"{file_name(file)} is damaged: {variable.name} has the shape {array.shape}")
    slices, rows, cols, *colour = grid
    array = array.astype(variable.dtype, copy=False).reshape((rows, cols, slices, -1, *colour), order="F")
    return array.transpose(3, 2, 0, 1, *range(4, array.ndim))


@dataclass(frozen=True)
class _Hdf:
    """Makes the lazy array of a file of version 7.3."""

    file: File
    variable: Variable
    volumes: tuple[int, ...]

    def __call__(self, found: Incoming, numbers: NDArray[np.intp], flip: bool, options: ReadOptions) -> LazyArray:
        values = found.value_type(options)
        wanted = values if options.dtype is None else np.dtype(options.dtype)
        dims = len(self.variable.shape)
        return mat_hdf.HdfArray(
            self.file, self.variable.name, numbers, found.grid, self.volumes, dims, flip, values, wanted
        )


# --- writing ------------------------------------------------------------------------------------------------------


def _version(options: WriteOptions) -> str:
    version = str(options.format_options.get("version", "5")).removeprefix("v").removesuffix(".0")
    if version not in _VERSIONS:
        raise FormatError(f"format_options version={version!r} is none of {', '.join(_VERSIONS)}")
    return version


def _holds(version: str) -> Holds:
    """What a version can hold; version 4 has neither int64 nor complex numbers of 32 bits."""
    return Holds("MAT version 4", ("u1", "i2", "u2", "i4", "f4", "f8", "c16")) if version == "4" else Mat.holds


def _check_size(version: str, count: int) -> None:
    if version != "7.3" and count > _LARGEST - 4096:
        raise FormatError(
            f"the image has {count / 2**30:.3g} GiB, and a variable of MAT version {version} less than 2 GiB: "
            "format_options={'version': '7.3'} has no such limit"
        )


def _contents(out: Outgoing, options: WriteOptions) -> dict[str, Any]:
    """Struct with place and labels."""
    cols, rows, slices = out.spatial
    marks: dict[str, Any] = {"size": [rows, cols, slices]} | ({"colour": True} if out.rgb else {})
    content = carry(out.image, options, **marks)
    labels: dict[str, Any] = {}
    sizes = {d["name"]: len(d["values"]) for d in content["dims"]} | {"slice": slices}
    for d, order in zip(content["dims"], order_names(out.image), strict=True):
        how = ORDERS.get(order)
        name = (how.label if how is not None and how.scalar else label_for(order)).coord if order != "none" else ""
        if (how is None or how.scalar) and d["attrs"].get("order") == order:
            labels[name or d["name"]] = _numbers(d["values"])
    for name, label in content["labels"].items():
        if name.isidentifier() and name.isascii() and not name.startswith("_") and len(name) < 63:
            labels[name] = _numbers(label["values"]).reshape([sizes[d] for d in label["dims"]] or [1])
    dims = ["row", "col", "slice", *(["volume"] if out.count > 1 or out.rgb else []), *(["rgb"] if out.rgb else [])]
    struct: dict[str, Any] = {"note": _NOTE, "dims": ",".join(dims), "order": ",".join(order_names(out.image))}
    if out.affine is not None:
        # of the axes of A: rows, columns, slices
        struct["affine"] = out.affine[:, [1, 0, 2, 3]]
        struct["spacing"] = np.array(out.spacing)[[1, 0, 2]]
        struct["orientation"] = out.unit[:, [1, 0, 2]]
        struct["frame"] = "LPS"
    units = content["header"].get("Units") if isinstance(content["header"], Mapping) else None
    if isinstance(units, str):
        struct["units"] = units
    if labels:
        struct["labels"] = labels
    return struct | {"json": compact(content)}


def _numbers(values: Sequence[Any]) -> NDArray[np.float64]:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
