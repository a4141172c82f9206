"""TIFF, judged by Pillow, SimpleITK and tifffile; what ImageJ and OME say in their own words."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import xarray as xr
from nifti_phantoms import OBLIQUE, series
from numpy.typing import NDArray

import imagedata_xr
from imagedata_xr.errors import FormatError, ImagedataError, ImagedataWarning, SeriesError, SourceError
from imagedata_xr.formats import tiff_out


@pytest.fixture(autouse=True)
def tifffile(require_module: Any) -> Any:
    """Pages made by tifffile, which is not ours."""
    return require_module("tifffile")


@pytest.fixture
def sitk(require_module: Any) -> Any:
    """SimpleITK."""
    return require_module("SimpleITK")


@pytest.fixture
def pil(require_module: Any) -> Any:
    """Pillow."""
    return require_module("PIL.Image")


@pytest.fixture(params=[True, False])
def quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """Logs of libraries are heard, or not, as in the command."""
    logging.disable(logging.NOTSET if request.param else logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def load(path: Any, **options: Any) -> xr.DataArray:
    """Open."""
    return xr.open_dataarray(str(path), engine="imagedata", **options)


def ramp(*shape: int, dtype: str = "uint16") -> NDArray[Any]:
    """Values of which each is another."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def words(path: Path, tifffile: Any) -> dict[str, str]:
    """What the first page says to ImageJ."""
    with tifffile.TiffFile(path) as tif:
        return dict(line.split("=", 1) for line in tif.pages[0].description.splitlines() if "=" in line)


# --- out ---


def test_imagej_and_others_read_spacing_and_axes(tifffile: Any, sitk: Any, pil: Any, tmp_path: Path) -> None:
    image = series(direction=OBLIQUE).astype("float32")
    image.imd.write(str(tmp_path / "a.tif"))
    said, spacing = words(tmp_path / "a.tif", tifffile), image.imd.spacing
    tags, slices = image.sizes["tag"], image.sizes["slice"]
    assert (int(said["images"]), int(said["frames"]), int(said["slices"])) == (tags * slices, tags, slices)
    assert said["unit"] == "cm"
    assert float(said["spacing"]) * 10 == pytest.approx(spacing[0])
    assert float(said["finterval"]) == pytest.approx(float(np.diff(image.tag.values)[0]))
    judge = sitk.ReadImage(str(tmp_path / "a.tif"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(judge).reshape(image.shape), image.values)
    np.testing.assert_allclose(judge.GetSpacing()[:2], spacing[:0:-1], rtol=1e-6)
    with pil.open(tmp_path / "a.tif") as picture:
        assert picture.n_frames == tags * slices
        picture.seek(slices + 1)
        np.testing.assert_array_equal(np.asarray(picture), image.values[1, 1])


def test_a_single_column_stays_one(tmp_path: Path, tifffile: Any) -> None:
    image = series(direction=OBLIQUE).isel(col=[2])
    image.imd.write(str(tmp_path / "a.tif"))
    np.testing.assert_array_equal(np.squeeze(tifffile.imread(tmp_path / "a.tif")), image.values[..., 0])
    back = xr.open_dataarray(str(tmp_path / "a.tif"), engine="imagedata")
    assert float(abs(image - back).max()) == 0


@pytest.mark.parametrize(
    ("dtype", "kept", "ome"),
    [
        ("uint8", "uint8", False), ("bool", "uint8", False), ("int16", "int16", False), ("uint16", "uint16", False),
        ("int8", "int16", False), ("float16", "float32", False), ("int32", "int32", True), ("uint32", "uint32", True),
        ("float64", "float64", True),
    ],
)  # fmt: skip
def test_values_are_as_they_are(tifffile: Any, dtype: str, kept: str, ome: bool, tmp_path: Path) -> None:
    image = series(stored=None)
    values = np.random.default_rng(0).random(image.shape)
    if dtype[0] != "f":
        info = np.iinfo("u1" if dtype == "bool" else dtype)
        values = np.rint(values * (float(info.max) - info.min) + info.min)
    image = image.copy(data=(values > 100 if dtype == "bool" else values).astype(dtype))
    image.imd.write(str(tmp_path / "a.tif"))
    judge = tifffile.imread(tmp_path / "a.tif")
    assert judge.dtype == kept
    np.testing.assert_array_equal(judge.reshape(image.shape), image.values)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert (bool(tif.is_ome), bool(tif.is_imagej)) == (ome, not ome)
    back = load(tmp_path / "a.tif")
    np.testing.assert_array_equal(back.values, image.values)
    np.testing.assert_allclose(back.imd.affine, image.imd.affine)


def test_ome_says_sizes(tifffile: Any, sitk: Any, tmp_path: Path) -> None:
    image = series(stored=None).astype("float64") + 1e-9
    image.imd.write(str(tmp_path / "a.tif"))
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        root = ElementTree.fromstring(tif.ome_metadata)
    pixels = next(e for e in root.iter() if e.tag.endswith("Pixels"))
    got = [float(pixels.get(f"PhysicalSize{a}", 0)) for a in "ZYX"]
    np.testing.assert_allclose(got, image.imd.spacing)
    assert {pixels.get(f"PhysicalSize{a}Unit") for a in "XYZ"} == {"mm"}
    assert float(pixels.get("TimeIncrement", 0)) == pytest.approx(float(np.diff(image.tag.values)[0]))
    assert [int(pixels.get(f"Size{a}", 0)) for a in "TZCYX"] == [*image.shape[:2], 1, *image.shape[2:]]


def test_large_ones_are_ome_and_bigtiff(tifffile: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_out, "_LARGEST", 100)
    image = series()
    image.imd.write(str(tmp_path / "a.tif"))
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.is_bigtiff
        assert tif.is_ome
        assert len(tif.pages) == image.sizes["tag"] * image.sizes["slice"]
    np.testing.assert_array_equal(load(tmp_path / "a.tif").values, image.values)


def test_colour_is_colour_elsewhere(pil: Any, sitk: Any, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (1, 3, 9, 7, 3)).astype("u1")
    image = imagedata_xr.from_array(values, dims=("tag", "slice", "row", "col", "rgb"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)
        image.imd.write(str(tmp_path / "a.tif"))
    with pil.open(tmp_path / "a.tif") as picture:
        picture.seek(2)
        np.testing.assert_array_equal(np.asarray(picture), values[0, 2])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.tif"))), values[0])
    back = load(tmp_path / "a.tif")
    np.testing.assert_array_equal(back.values, values)


def test_labels_are_left_out_of_a_file_that_was_cut(tifffile: Any, tmp_path: Path) -> None:
    series().imd.write(str(tmp_path / "a.tif"))
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        tag = tif.pages[0].tags[65312]
        tifffile.imwrite(tmp_path / "b.tif", ramp(2, 5, 6), extratags=[(65312, "s", 0, tag.value, True)])
        tifffile.imwrite(tmp_path / "c.tif", ramp(2, 5, 6), extratags=[(65312, "s", 0, "of others", True)])
    with pytest.warns(ImagedataWarning, match="it was cut"):
        assert "geometry" not in load(tmp_path / "b.tif").coords
    assert load(tmp_path / "c.tif").shape == (1, 2, 5, 6)


# --- in ---

KINDS = [
    *(
        (dtype, {})
        for dtype in ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64", "float16")
    ),
    *(("uint16", {"compression": c}) for c in ("lzw", "zlib", "packbits", "zstd", "lzma")),
    ("uint16", {"compression": "lzw", "predictor": True}),
    ("float32", {"compression": "zlib", "predictor": True}),
    ("uint16", {"byteorder": ">"}),
    ("float32", {"byteorder": ">", "compression": "zlib"}),
    ("uint16", {"bigtiff": True}),
    ("uint16", {"tile": (32, 16)}),
    ("uint16", {"rowsperstrip": 5}),
]


@pytest.mark.parametrize(("dtype", "how"), KINDS)
def test_pages_of_every_kind(tifffile: Any, dtype: str, how: dict[str, Any], tmp_path: Path) -> None:
    values = ramp(4, 37, 29, dtype=dtype)
    with tifffile.TiffWriter(tmp_path / "a.tif", **{k: how[k] for k in ("byteorder", "bigtiff") if k in how}) as tif:
        for page in values:
            more = {k: v for k, v in how.items() if k not in ("byteorder", "bigtiff")}
            tif.write(page, metadata=None, **more)
    back = load(tmp_path / "a.tif")
    assert back.shape == (1, 4, 37, 29)
    np.testing.assert_array_equal(back.values[0], values)
    part = load(tmp_path / "a.tif", chunks={})[0, [2, 0], 5::3, ::-1]
    np.testing.assert_array_equal(part.values, values[[2, 0], 5::3, ::-1])


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "F", "RGB", "P", "RGBA"])
@pytest.mark.parametrize("packed", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_pictures_of_pillow(pil: Any, mode: str, packed: str | None, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    opaque = pil.fromarray(rng.integers(0, 256, (13, 17, 3)).astype("u1"))
    if mode in ("I;16", "F"):
        picture = pil.fromarray((rng.random((13, 17)) * 60000).astype("u2" if mode == "I;16" else "f4"))
    else:
        picture = opaque.convert("L").convert(mode) if mode == "1" else opaque.convert(mode)
    picture.save(tmp_path / "a.tif", compression=packed, dpi=(254, 127))
    back = load(tmp_path / "a.tif")
    with pil.open(tmp_path / "a.tif") as judge:
        want = np.asarray(judge.convert("RGB") if mode in ("RGB", "P", "RGBA") else judge)
    np.testing.assert_array_equal(back.values[0, 0], want)
    np.testing.assert_allclose(back.attrs["NominalScannedPixelSpacing"], [0.2, 0.1])
    assert "geometry" not in back.coords


def test_jpeg_in_tiff(pil: Any, tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :48]
    values = np.stack([2 * y, 3 * x, y + x], axis=-1).astype("u1")
    pil.fromarray(values).save(tmp_path / "a.tif", compression="jpeg", quality=95)
    with pil.open(tmp_path / "a.tif") as judge:
        want = np.asarray(judge).astype(int)
    assert np.abs(load(tmp_path / "a.tif").values[0, 0].astype(int) - want).max() <= 3  # two decoders


def test_white_is_zero(tifffile: Any, pil: Any, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ramp(5, 6), photometric="miniswhite")
    back = load(tmp_path / "a.tif")
    np.testing.assert_array_equal(back.values[0, 0], ramp(5, 6))
    assert back.attrs["PhotometricInterpretation"] == "MONOCHROME1"
    bits = ramp(16, 16) % 3 == 0
    tifffile.imwrite(tmp_path / "b.tif", bits, photometric="miniswhite")
    with pil.open(tmp_path / "b.tif") as judge:
        np.testing.assert_array_equal(load(tmp_path / "b.tif").values[0, 0], np.asarray(judge))


def test_orientation_is_undone(tifffile: Any, pil: Any, tmp_path: Path) -> None:
    for orientation in range(1, 9):
        path = tmp_path / f"{orientation}.tif"
        tifffile.imwrite(
            path, ramp(3, 5, dtype="uint8"), extratags=[(274, "H", 1, orientation, True)], metadata=None,
            resolution=(100, 50), resolutionunit="CENTIMETER", compression="zlib",
        )  # fmt: skip
        with pil.open(path) as picture:
            want = np.asarray(picture)  # which it turns by itself
        back = load(path)
        np.testing.assert_array_equal(back.values[0, 0], want)
        spacing = [0.2, 0.1] if orientation < 5 else [0.1, 0.2]
        np.testing.assert_allclose(back.attrs["NominalScannedPixelSpacing"], spacing)


@pytest.mark.parametrize("unit", ["mm", "cm", "micron", "um", "inch", "\\u00B5m"])
def test_hyperstacks_of_imagej(tifffile: Any, unit: str, tmp_path: Path) -> None:
    values = ramp(3, 4, 2, 5, 6)  # TZCYX
    size = {"mm": 1.0, "cm": 10.0, "inch": 25.4}.get(unit, 1e-3)
    about = {"axes": "TZCYX", "spacing": 3 / size, "unit": unit, "finterval": 2.5}
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, resolution=(size / 0.5, size / 2), metadata=about)
    back = load(tmp_path / "a.tif")
    assert back.sizes == {"volume": 2, "volume2": 3, "slice": 4, "row": 5, "col": 6}  # the fastest first
    np.testing.assert_array_equal(back.values, values.transpose(2, 0, 1, 3, 4))
    np.testing.assert_allclose(back.attrs["NominalScannedPixelSpacing"], [2, 0.5])
    assert back.attrs["SpacingBetweenSlices"] == pytest.approx(3)


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_frames_have_times(tifffile: Any, kind: str, tmp_path: Path) -> None:
    about: dict[str, Any] = {"axes": "TYX", "finterval": 2.5}
    if kind == "ome":
        about = {"axes": "TYX", "TimeIncrement": 2500, "TimeIncrementUnit": "ms"}
    tifffile.imwrite(tmp_path / "a.tif", ramp(3, 5, 6), metadata=about, **{kind: True})
    back = load(tmp_path / "a.tif")
    assert back.shape == (3, 1, 5, 6)
    assert back.tag.attrs["order"] == "time"
    np.testing.assert_allclose(back.tag, [0, 2.5, 5])


@pytest.mark.parametrize("order", ["TZCYX", "CZTYX", "ZCTYX"])
def test_axes_of_ome(tifffile: Any, order: str, tmp_path: Path) -> None:
    sizes = {"T": 3, "Z": 4, "C": 2, "Y": 5, "X": 6}
    values = ramp(*(sizes[a] for a in order))
    about = {"axes": order, "PhysicalSizeX": 500, "PhysicalSizeY": 2000, "PhysicalSizeZ": 3, "PhysicalSizeZUnit": "mm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", values, metadata=about)
    back = load(tmp_path / "a.ome.tif")
    rest = [k for k, a in enumerate(order[:3]) if a != "Z"][::-1]  # the fastest first
    np.testing.assert_array_equal(back.values, values.transpose(*rest, order.index("Z"), 3, 4))
    np.testing.assert_allclose(back.attrs["NominalScannedPixelSpacing"], [2, 0.5])
    assert back.attrs["SpacingBetweenSlices"] == pytest.approx(3)


def test_one_header_for_all_pages(tifffile: Any, tmp_path: Path) -> None:
    values = ramp(3, 4, 5, 6)
    with tifffile.TiffWriter(tmp_path / "a.tif", imagej=True) as tif:
        tif.write(values, metadata={"axes": "TZYX"}, truncate=True)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert len(tif.pages) == 1
    np.testing.assert_array_equal(load(tmp_path / "a.tif").values, values)
    np.testing.assert_array_equal(load(tmp_path / "a.tif")[1, 2].values, values[1, 2])


def test_colours_of_16_bits_and_planes_are_volumes(tifffile: Any, tmp_path: Path) -> None:
    values = ramp(5, 6, 3)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    np.testing.assert_array_equal(load(tmp_path / "a.tif").values[:, 0], np.moveaxis(values, -1, 0))
    tifffile.imwrite(tmp_path / "b.tif", np.moveaxis(values, -1, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(load(tmp_path / "b.tif").values[:, 0], np.moveaxis(values, -1, 0))
    small = values.astype("u1")
    tifffile.imwrite(tmp_path / "c.tif", np.moveaxis(small, -1, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(load(tmp_path / "c.tif").values[0, 0], small)


def test_reduced_copies_are_left_out(tifffile: Any, tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(ramp(8, 6), metadata=None)
        tif.write(ramp(4, 3), metadata=None, subfiletype=1)
    assert load(tmp_path / "a.tif").shape == (1, 1, 8, 6)


def test_files_of_one_page_are_slices_and_others_are_images(tifffile: Any, tmp_path: Path) -> None:
    for k in range(1, 12):
        tifffile.imwrite(tmp_path / f"s{k}.tif", np.full((3, 4), k, "u2"))
    np.testing.assert_array_equal(load(tmp_path).values[0, :, 0, 0], np.arange(1, 12))
    (tmp_path / "m").mkdir()
    for k in range(2):
        tifffile.imwrite(tmp_path / "m" / f"{k}.tif", ramp(5, 3, 4) + k, photometric="minisblack")
    with pytest.raises(SeriesError, match=r"4 x 3 x 5.*\n.*4 x 3 x 5"):
        load(tmp_path / "m")
    both = load(tmp_path / "m", format_options={"volumes": 2})
    np.testing.assert_array_equal(both.values, np.stack([ramp(5, 3, 4), ramp(5, 3, 4) + 1]))


def test_what_is_not_read_is_refused(tifffile: Any, pil: Any, tmp_path: Path) -> None:
    pil.new("CMYK", (3, 4)).save(tmp_path / "a.tif")
    with pytest.raises(FormatError, match="SEPARATED"):
        load(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", ramp(16, 16, 16), volumetric=True, tile=(16, 16, 16))
    with pytest.raises(FormatError, match="three dimensions"):
        load(tmp_path / "b.tif")
    with pytest.raises(FormatError, match="from 1 to 9"):
        series().imd.write(str(tmp_path / "c.tif"), format_options={"compress": "lzw"})


@pytest.mark.parametrize("how", [{}, {"compression": "lzw"}, {"tile": (16, 16)}])
def test_what_is_cut_off_is_said(tifffile: Any, how: dict[str, Any], tmp_path: Path, quiet: None) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for k in range(5):
            tif.write(np.random.default_rng(k).integers(0, 255, (40, 50)).astype("u1"), metadata=None, **how)
    data = path.read_bytes()
    for keep in (0, 4, 20, len(data) // 2, len(data) - 300):
        path.write_bytes(data[:keep])
        with pytest.raises(ImagedataError, match=r"a[.]tif"):
            load(path).load()


@pytest.mark.parametrize("code", [256, 257, 322, 323])
def test_sizes_that_no_file_can_have(tifffile: Any, code: int, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ramp(40, 40), compression="zlib", tile=(16, 16), metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tif:
        tif.pages[0].tags[code].overwrite(1 << 30, dtype="I")
    with pytest.raises(SourceError, match="damaged"):
        load(tmp_path / "a.tif", errors="raise").load()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_hyperstacks_that_are_cut_off(dtype: str, tmp_path: Path, quiet: None) -> None:
    path = tmp_path / "a.tif"
    (series(stored=None, shape=(5, 20, 20)).astype(dtype) + 1e-9).imd.write(str(path))
    data = path.read_bytes()
    for keep in (0.05, 0.3, 0.5, 0.9, 0.99):
        path.write_bytes(data[: int(keep * len(data))])
        with pytest.raises(ImagedataError, match=r"a[.]tif"):
            load(path).load()


def test_nothing_is_logged_or_printed(tifffile: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    series().imd.write(str(tmp_path / "a.tif"))
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: len(data) // 2])
    before = list(logging.getLogger("tifffile").handlers)
    with pytest.raises(SourceError):
        load(tmp_path / "a.tif", errors="raise").load()
    assert logging.getLogger("tifffile").handlers == before
    assert capfd.readouterr() == ("", "")


def calibrated(tifffile: Any, path: Path, values: NDArray[Any], words: str) -> xr.DataArray:
    text = f"ImageJ=1.54f\nimages={len(values)}\nslices={len(values)}\n{words}\nvunit=gray value\n"
    with tifffile.TiffWriter(path, byteorder=">") as tif:
        for k, page in enumerate(values):
            tif.write(page, description=text if not k else None, metadata=None, contiguous=False)
    return xr.open_dataarray(path, engine="imagedata")


def test_signed_numbers_of_imagej_are_signed(tifffile: Any, tmp_path: Path) -> None:
    values = np.arange(-1000, -976, dtype=np.int16).reshape(2, 3, 4)
    stored = (values.astype(int) + 32768).astype(np.uint16)
    image = calibrated(tifffile, tmp_path / "a.tif", stored, "cf=0\nc0=-32768.0\nc1=1.0")
    assert image.encoding["stored_dtype"] == "int16"
    np.testing.assert_array_equal(image.values.reshape(values.shape), values)


def test_other_calibrations_of_imagej_are_said(tifffile: Any, tmp_path: Path) -> None:
    stored = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    with pytest.warns(ImagedataWarning, match="cf=0, c0=-5, c1=0.25"):
        image = calibrated(tifffile, tmp_path / "a.tif", stored, "cf=0\nc0=-5.0\nc1=0.25")
    np.testing.assert_array_equal(image.values.reshape(stored.shape), stored)
