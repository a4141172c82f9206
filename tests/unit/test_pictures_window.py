"""Greys of pictures of DICOM images, judged by dcmtk and the formulas of PS3.3 C.11.2."""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path
from typing import Any

import multiframe
import numpy as np
import phantoms
import pydicom
import pytest
import xarray as xr
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from imagedata_xr.errors import ImagedataWarning


@pytest.fixture(autouse=True)
def pil(require_module: Any) -> Any:
    """Pillow."""
    require_module("PIL")
    return pytest.importorskip("PIL.Image")


def greys(pil: Any, folder: Path) -> NDArray[np.int64]:
    """Pictures of a folder by their names."""
    return np.array([np.asarray(pil.open(p)) for p in sorted(folder.iterdir())]).astype(int)


def written(pil: Any, image: xr.DataArray, folder: Path, **how: Any) -> NDArray[np.int64]:
    """Write an image as PNG; give its greys, page after page."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)
        image.imd.write(str(folder / "a.png"), format_options=how)
    return greys(pil, folder)


def by_dcmtk(program: Path, pil: Any, files: list[Path], folder: Path, *options: str) -> NDArray[np.int64]:
    """Pictures of dcmtk."""
    folder.mkdir()
    for k, file in enumerate(files):
        subprocess.run([str(program), "+on", *options, str(file), str(folder / f"{k:04d}.png")], check=True)
    return greys(pil, folder)


KINDS: dict[str, phantoms.Series] = {
    "CT": phantoms.ct(slope=1.0, intercept=-1024.0),
    "MR": phantoms.mr(),
    "MONOCHROME1": phantoms.mr(elements={"PhotometricInterpretation": "MONOCHROME1"}),
    "two windows": phantoms.ct(elements={"WindowCenter": ["0", "3"], "WindowWidth": ["900", "4"]}),
    "a window per volume": phantoms.mr(
        shape=(2, 3, 6, 8),
        volumes=[{"EchoTime": "4", "WindowCenter": "600"}, {"EchoTime": "9", "WindowCenter": "1900"}],
    ),
    "sigmoid": phantoms.mr(elements={"VOILUTFunction": "SIGMOID"}),
    "rescaled by volume": phantoms.pet(elements={"WindowCenter": "2000", "WindowWidth": "3000"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_greys_are_those_of_dcmtk(pil: Any, kind: str, tmp_path: Path, require_program: Any) -> None:
    program = require_program("dcmj2pnm")
    files = phantoms.make(tmp_path / "in", KINDS[kind])
    want = by_dcmtk(program, pil, files, tmp_path / "judge", "+Wi", "1")
    for name in ("lazy", "dask"):
        image = phantoms.opened(tmp_path / "in", **({} if name == "lazy" else {"chunks": {}}))
        got = written(pil, image, tmp_path / name)
        assert np.abs(got - want).max() <= 1
        assert len(np.unique(got)) > 5


def test_greys_by_a_voi_lut(pil: Any, tmp_path: Path, require_program: Any) -> None:
    program = require_program("dcmj2pnm")
    item = Dataset()
    table = (np.sqrt(np.arange(3000) / 3000) * 4095).astype("<u2")
    item.LUTDescriptor = [len(table), 600, 12]
    item["LUTDescriptor"].VR = "US"
    item.add_new("LUTData", "OW", table.tobytes())
    files = phantoms.make(tmp_path / "in", phantoms.mr(elements={"VOILUTSequence": [item]}))
    for file in files:
        ds = pydicom.dcmread(file)
        del ds.WindowCenter, ds.WindowWidth
        ds.save_as(file)
    want = by_dcmtk(program, pil, files, tmp_path / "judge", "+Wl", "1")
    got = written(pil, phantoms.opened(tmp_path / "in"), tmp_path / "out")
    assert np.abs(got - want).max() <= 1
    assert len(np.unique(got)) > 5


def test_parts_have_the_window_of_the_whole(pil: Any, tmp_path: Path) -> None:
    phantoms.make(tmp_path / "in", phantoms.ct())
    image = phantoms.opened(tmp_path / "in")
    whole = written(pil, image, tmp_path / "a")
    part = written(pil, image[:, 1:, ::2, 2:5], tmp_path / "b")
    np.testing.assert_array_equal(part, whole[1:, ::2, 2:5])


@pytest.mark.parametrize("chunks", [None, {}])
@pytest.mark.parametrize("inverted", [False, True])
def test_no_window_of_the_headers_holds_for_changed_values(
    pil: Any, chunks: Any, inverted: bool, tmp_path: Path
) -> None:
    elements = {"PhotometricInterpretation": "MONOCHROME1"} if inverted else {}
    phantoms.make(tmp_path / "in", phantoms.ct(elements=elements))
    image = phantoms.opened(tmp_path / "in", chunks=chunks) * 3
    greys_said = "255 to 0 .MONOCHROME1" if inverted else "0 to 255"
    with pytest.warns(ImagedataWarning, match=f"all values. are shown as {greys_said}"):
        image.imd.write(str(tmp_path / "out" / "a.png"))
    low, high = float(image.min()), float(image.max())
    want = np.rint((image.values[0] - low) / (high - low) * 255)
    np.testing.assert_allclose(greys(pil, tmp_path / "out"), 255 - want if inverted else want, atol=1)


def test_stored_values_are_not_taken_for_those_of_the_window(pil: Any, tmp_path: Path) -> None:
    phantoms.make(tmp_path / "in", phantoms.ct(intercept=-1024.0))
    image = phantoms.opened(tmp_path / "in", mask_and_scale=False)
    with pytest.warns(ImagedataWarning, match="all values. are shown"):
        image.imd.write(str(tmp_path / "out" / "a.png"))


def test_windows_of_frames(pil: Any, tmp_path: Path) -> None:
    windows = [(800.0, 900.0), (1500.0, 1200.0), (2500.0, 3000.0)]
    frames = [
        multiframe.Frame(k, groups={"FrameVOILUTSequence": {"WindowCenter": c, "WindowWidth": w}})
        for k, (c, w) in enumerate(windows)
    ]
    multiframe.save(multiframe.instance(frames), tmp_path / "a.dcm")
    image = phantoms.opened(tmp_path / "a.dcm")
    got = written(pil, image, tmp_path / "out")
    for k, (c, w) in enumerate(windows):
        want = np.clip(((image.values[0, k] - (c - 0.5)) / (w - 1) + 0.5), 0, 1) * 255
        np.testing.assert_allclose(got[k], want, atol=0.51)


def test_eight_bits_of_monochrome1_are_inverted(pil: Any, tmp_path: Path) -> None:
    files = phantoms.make(tmp_path / "in", phantoms.mr(bits=8, elements={"PhotometricInterpretation": "MONOCHROME1"}))
    for file in files:
        ds = pydicom.dcmread(file)
        ds.PixelData, ds.BitsAllocated = ds.pixel_array.astype("u1").tobytes(), 8
        ds["PixelData"].VR = "OB"
        del ds.WindowCenter, ds.WindowWidth
        ds.save_as(file)
    image = phantoms.opened(tmp_path / "in")
    np.testing.assert_array_equal(written(pil, image, tmp_path / "out"), 255 - image.values[0])
    with pytest.warns(ImagedataWarning, match="MONOCHROME1 is not inverted"):
        image.imd.write(str(tmp_path / "kept" / "a.png"), format_options={"window": "none"})
    np.testing.assert_array_equal(greys(pil, tmp_path / "kept"), image.values[0])


def test_what_the_user_sets_comes_first(pil: Any, tmp_path: Path) -> None:
    phantoms.make(tmp_path / "in", phantoms.ct())
    image = phantoms.opened(tmp_path / "in").imd.assign_dicom(WindowCenter=1000, WindowWidth=501)
    with pytest.warns(ImagedataWarning, match="from 749.5 to 1249.5 .the window of the attrs"):
        image.imd.write(str(tmp_path / "out" / "a.png"))


@pytest.mark.parametrize("width", [1, 2])
def test_narrow_windows(pil: Any, width: int, tmp_path: Path) -> None:
    phantoms.make(tmp_path / "in", phantoms.mr(elements={"WindowCenter": "2000", "WindowWidth": str(width)}))
    image = phantoms.opened(tmp_path / "in")
    got = written(pil, image, tmp_path / "out")
    np.testing.assert_array_equal(got > 127, image.values[0] > 1999.5)
