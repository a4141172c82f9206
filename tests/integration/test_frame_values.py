"""Every frame of every real case against pydicom: its stored values, masked, with that frame's own rescale.

Places and labels are judged elsewhere; here nothing may be lost, invented or changed. What dcm2niix makes of the same
files is judged, voxel by voxel and by place, in `test_shared_cases`.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import xarray as xr
from numpy.typing import NDArray

from imagedata_xr.errors import ImagedataError

Array = NDArray[Any]

DAMAGED = {"made_ct_truncated", "ct_ge_gap"}
"""Cases of which images may be left out, with a warning."""


def rescale(ds: pydicom.Dataset, number: int) -> tuple[float, float]:
    """Slope and intercept of a frame: its own, those of all frames, or the instance's."""
    groups = []
    for keyword, k in (("PerFrameFunctionalGroupsSequence", number), ("SharedFunctionalGroupsSequence", 0)):
        if keyword in ds and len(ds[keyword].value) > k:
            groups += list(ds[keyword].value[k].get("PixelValueTransformationSequence") or ())
    for item in (*groups, ds):
        if "RescaleSlope" in item:
            return float(item.RescaleSlope), float(item.get("RescaleIntercept", 0))
    return float(ds.get("DoseGridScaling") or 1), 0.0


def masked(stored: Array, ds: pydicom.Dataset) -> Array:
    """Stored values without the bits outside of Bits Stored (PS3.5 section 8.1.1)."""
    bits = int(ds.BitsStored)
    out = (stored.astype(np.int64) >> (int(ds.HighBit) + 1 - bits)) & (2**bits - 1)
    return np.asarray(np.where(out >= 2 ** (bits - 1), out - 2**bits, out) if ds.PixelRepresentation == 1 else out)


def frames_of(file: io.BytesIO) -> Iterator[Array]:
    """Values of the frames of a file, as float64; colours as they are, tiles not cut yet."""
    ds = pydicom.dcmread(file, force=True)
    if "PixelData" not in ds:
        return
    count = int(ds.get("NumberOfFrames") or 1)
    try:
        stored = ds.pixel_array
    except ValueError:
        return  # damaged
    except RuntimeError:
        yield from by_gdcm(file)  # pydicom has no permissive decoder of lossless JPEG
        return
    for k, frame in enumerate(
        stored.reshape(count, *stored.shape[stored.ndim - (3 if ds.SamplesPerPixel > 1 else 2) :])
    ):
        if ds.SamplesPerPixel > 1:
            yield frame
            continue
        slope, intercept = (1.0, 0.0) if ds.Modality == "SEG" else rescale(ds, k)
        yield masked(frame, ds) * slope + intercept


def by_gdcm(file: io.BytesIO) -> Iterator[Array]:
    """Values of the frames of a file as GDCM has them, in SimpleITK."""
    import SimpleITK as sitk  # noqa: N813

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.dcm"
        path.write_bytes(file.getvalue())
        yield from sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.float64)


def tiles(plane: Array, rows: int, cols: int) -> Iterator[Array]:
    """Parts of a plane of a size that divides it."""
    for r in range(0, plane.shape[0], rows):
        for c in range(0, plane.shape[1], cols):
            yield plane[r : r + rows, c : c + cols]


def print_of(plane: Array) -> bytes:
    """What tells a plane from others; the values rounded once to float32."""
    return repr(plane.shape).encode() + np.ascontiguousarray(plane, dtype=np.float32).tobytes()


def images_of(source: Path) -> list[xr.DataArray]:
    tree = xr.open_datatree(source, engine="imagedata")
    return [node.to_dataset()["image"].load() for node in tree.subtree if "image" in node.data_vars]


def planes_of(images: list[xr.DataArray]) -> Iterator[Array]:
    for image in images:
        colour = (3,) if image.dims[-1] == "rgb" else ()
        size = image.shape[image.ndim - 2 - len(colour) :]
        yield from image.values.reshape(-1, *size)


def contents(folder: Path) -> Iterator[io.BytesIO]:
    """Files below a folder, unpacked."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        yield io.BytesIO(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)


def expected(folder: Path, shapes: set[tuple[int, ...]]) -> tuple[Counter[bytes], int]:
    """Prints of pydicom's planes, cut into tiles where no image has their shape; how many are not blank."""
    out: Counter[bytes] = Counter()
    full = 0
    for file in contents(folder):
        for plane in frames_of(file):
            fitting = [s for s in shapes if len(s) == plane.ndim]
            if plane.shape not in shapes and fitting:
                size = max(s for s in fitting if plane.shape[0] % s[0] == 0 and plane.shape[1] % s[1] == 0)
                some = list(tiles(plane, *size[:2]))
            else:
                some = [plane]
            out.update(print_of(one) for one in some)
            full += sum(len(some) == 1 or bool(one.any()) for one in some)
    return out, full


def check(folder: Path, whole: bool) -> None:
    """Compare all planes that are read with all that pydicom finds."""
    images = images_of(folder)
    got = Counter(print_of(plane) for plane in planes_of(images))
    want, full = expected(folder, {plane.shape for plane in planes_of(images)})
    assert got, "nothing was read"
    assert not got - want, f"{sum((got - want).values())} of {sum(got.values())} planes are no frames of pydicom's"
    if whole:
        assert sum(got.values()) >= full, f"{sum(got.values())} planes where pydicom has {full}"


@pytest.mark.slow
def test_every_frame_of_real_mr_series(shared_cases: Path, case: Callable[[str], Path]) -> None:
    wrong = {}
    names = [entry["id"] for entry in json.loads((shared_cases / "index.json").read_text(encoding="utf-8"))]
    assert len(names) >= 34
    for name in names:
        try:
            check(case(name), whole=True)
        except AssertionError as error:
            wrong[name] = str(error)
    assert not wrong, wrong


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_frame_of_real_series_of_other_kinds(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "beyond"
    entries = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    wrong, read = {}, 0
    for entry in entries:
        name = entry["id"]
        with tarfile.open(folder / f"{name}.tar.xz") as archive:
            archive.extractall(tmp_path / name, filter="data")
        (source,) = [p for p in (tmp_path / name).rglob("in") if p.is_dir()] or [tmp_path / name]
        try:
            check(source, whole=name not in DAMAGED)
            read += 1
        except ImagedataError as error:
            if entry["expect"] == "read":
                wrong[name] = repr(error)
        except AssertionError as error:
            wrong[name] = str(error)
    assert not wrong, wrong
    assert read >= len(entries) - 4
