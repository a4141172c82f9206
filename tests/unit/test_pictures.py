"""PNG and JPEG, judged by Pillow."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from made_dicom import encoded, instance
from nifti_phantoms import series
from numpy.typing import NDArray

import imagedata_xr
from imagedata_xr.errors import FormatError, ImagedataError, ImagedataWarning, SeriesError
from imagedata_xr.formats.names import Names


@pytest.fixture(autouse=True)
def pil(require_module: Any) -> Any:
    """Pillow."""
    require_module("PIL")
    return pytest.importorskip("PIL.Image")


def load(path: Any, **options: Any) -> xr.DataArray:
    """Open."""
    source: Any = path if isinstance(path, list) else str(path)
    return xr.open_dataarray(source, engine="imagedata", **options)


def ramp(*shape: int, dtype: str = "uint8") -> NDArray[Any]:
    """Values of which each is another."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


# --- out ---


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "bool"])
def test_png_keeps_values_exactly_where_asked(pil: Any, tmp_path: Path, dtype: str) -> None:
    values = (ramp(7, 5, dtype="uint16") * 7 % (2 if dtype == "bool" else 1 << 15)).astype(dtype)
    values[0, 0] = 1 if dtype == "bool" else np.iinfo(dtype).max
    image = imagedata_xr.from_array(values[None])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image.imd.write(str(tmp_path / "a.png"), format_options={"window": "none"})
    np.testing.assert_array_equal(np.asarray(pil.open(tmp_path / "a.png")), values)
    back = load(tmp_path / "a.png")
    np.testing.assert_array_equal(back.values[0, 0], values)
    assert back.dims == ("tag", "slice", "row", "col")
    assert "geometry" not in back.coords


def test_values_that_png_can_not_keep_are_refused(tmp_path: Path) -> None:
    image = imagedata_xr.from_array(np.array([[[0.5, 1], [2, 3]]], "f4"))
    with pytest.raises(FormatError, match=r"not whole from 0[.]5 to 3"):
        image.imd.write(str(tmp_path / "a.png"), format_options={"window": "none"})
    whole = image.copy(data=np.floor(image.values - 1))
    with pytest.raises(FormatError, match="from -1 to 2"):
        whole.imd.write(str(tmp_path / "a.png"), format_options={"window": "none"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("bits", "top"), [(8, 255), (16, 65535)])
def test_a_window_is_spread_over_the_greys(pil: Any, tmp_path: Path, bits: int, top: int) -> None:
    values = np.linspace(-1000, 2000, 60, dtype="f4").reshape(1, 6, 10)
    image = imagedata_xr.from_array(values)
    with pytest.warns(ImagedataWarning, match=r"from -160 to 240 .*asked for.* are clipped"):
        image.imd.write(str(tmp_path / "a.png"), format_options={"window": (40, 400), "bits": bits})
    got = np.asarray(pil.open(tmp_path / "a.png")).astype(float)
    np.testing.assert_allclose(got, np.clip((values[0] + 160) / 400, 0, 1) * top, atol=0.5 + 1e-3)


def test_without_a_window_all_values_are_spread_and_said(pil: Any, tmp_path: Path) -> None:
    values = np.linspace(-1000, 2000, 60, dtype="f4").reshape(1, 6, 10)
    with pytest.warns(ImagedataWarning, match="from -1000 to 2000 .all values. are shown as 0 to 255"):
        imagedata_xr.from_array(values).imd.write(str(tmp_path / "a.png"))
    got = np.asarray(pil.open(tmp_path / "a.png"))
    assert got.dtype == np.uint8
    assert (got.min(), got.max()) == (0, 255)
    image = imagedata_xr.from_array(values).assign_attrs(WindowCenter=[500.5, 1], WindowWidth=[1001.0, 2])
    with pytest.warns(ImagedataWarning, match="from 0 to 1000 .the window of the attrs"):
        image.imd.write(str(tmp_path / "b.png"))
    got = np.asarray(pil.open(tmp_path / "b.png")).astype(float)
    np.testing.assert_allclose(got, np.clip(values[0] / 1000, 0, 1) * 255, atol=0.5 + 1e-3)


def test_what_is_no_number_is_said(pil: Any, tmp_path: Path) -> None:
    values = np.array([[[np.nan, np.inf, -np.inf, 0, 10]]], "f4")
    with pytest.warns(ImagedataWarning, match="3 values are no finite numbers"):
        imagedata_xr.from_array(values).imd.write(str(tmp_path / "a.png"))
    np.testing.assert_array_equal(np.asarray(pil.open(tmp_path / "a.png"))[0], [0, 255, 0, 0, 255])


def test_colour_is_kept(pil: Any, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (1, 1, 9, 7, 3)).astype("u1")
    image = imagedata_xr.from_array(values, dims=("tag", "slice", "row", "col", "rgb"))
    image.imd.write(str(tmp_path / "a.png"))
    np.testing.assert_array_equal(np.asarray(pil.open(tmp_path / "a.png")), values[0, 0])
    back = load(tmp_path / "a.png")
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back.values, values)


def test_jpeg_is_said_to_be_lossy(pil: Any, tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :48]
    values = np.stack([2 * y, 3 * x, y + x], axis=-1).astype("u1")
    image = imagedata_xr.from_array(values[None, None], dims=("tag", "slice", "row", "col", "rgb"))
    with pytest.warns(ImagedataWarning, match="with loss"):
        image.imd.write(str(tmp_path / "a.jpg"), format_options={"quality": 98})
    with pil.open(tmp_path / "a.jpg") as picture:
        assert picture.format == "JPEG"
        judge = np.asarray(picture)
    assert np.abs(judge.astype(int) - values).max() < 12
    np.testing.assert_array_equal(load(tmp_path / "a.jpg").values[0, 0], judge)


def test_slices_and_volumes_have_names(tmp_path: Path) -> None:
    image = series().astype("float32")
    with pytest.warns(ImagedataWarning, match=r"place in the patient is not written.*labels tag"):
        done = image.imd.write(str(tmp_path / "a.png"), format_options={"window": "minmax", "bits": 16})
    tags, slices = image.sizes["tag"], image.sizes["slice"]
    want = [f"a_{v + 1:03d}_{k + 1:03d}.png" for v in range(tags) for k in range(slices)]
    assert sorted(p.name for p in tmp_path.iterdir()) == want
    assert done.count == len(want)
    back = load(tmp_path, format_options={"volumes": tags})
    assert back.shape == image.shape
    low, high = float(image.min()), float(image.max())
    np.testing.assert_allclose(back.values / 65535 * (high - low) + low, image.values, atol=(high - low) / 65535)
    spacing = image.imd.spacing
    np.testing.assert_allclose(back.attrs["NominalScannedPixelSpacing"], spacing[1:], rtol=1e-3)
    with pytest.warns(ImagedataWarning):
        image.isel(tag=[0]).imd.write(str(tmp_path / "v" / "s%(slice)02d.png"))
    assert sorted(p.name for p in (tmp_path / "v").iterdir()) == [f"s{k + 1:02d}.png" for k in range(slices)]
    with pytest.raises(FormatError, match="only"):
        image.imd.write(str(tmp_path / "w" / "s%(slice)02d.png"))


def test_overwriting_leaves_no_slice_of_an_earlier_image(tmp_path: Path) -> None:
    plain_image = imagedata_xr.from_array(ramp(6, 4, 5))
    plain_image.imd.write(str(tmp_path / "a.png"))
    (tmp_path / "a_other.png").write_bytes(b"of others")
    with pytest.raises(FileExistsError, match="overwrite"):
        plain_image[:, :3].imd.write(str(tmp_path / "a.png"))
    plain_image[:, :3].imd.write(str(tmp_path / "a.png"), overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a_001.png", "a_002.png", "a_003.png", "a_other.png"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"bits": 12}, "8, 16"),
        ({"window": "wide"}, "center, width"),
        ({"window": (1, -2)}, "above 0"),
        ({"no_such": 1}, "unknown format_options"),
        ({"window": "none", "bits": 16}, "nothing is"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: dict[str, Any], match: str) -> None:
    with pytest.raises(FormatError, match=match):
        imagedata_xr.from_array(ramp(2, 3, 4)).imd.write(str(tmp_path / "a.png"), format_options=options)
    assert not list(tmp_path.iterdir())


def test_patterns_are_checked() -> None:
    for bad in ("a.png", "%x_%d.png", "../%d.png"):
        with pytest.raises(FormatError):
            Names(bad).check()
    assert Names("%(volume)02d-%(slice)03d-%d").of(7, 2, 3) == "02-003-7"


# --- in ---


def test_slices_come_in_the_order_of_their_numbers(pil: Any, tmp_path: Path) -> None:
    for k in range(1, 13):
        pil.fromarray(np.full((3, 4), k, "u1")).save(tmp_path / f"im{k}.png")
    want = np.arange(1, 13)
    np.testing.assert_array_equal(load(tmp_path).values[0, :, 0, 0], want)
    listed = [str(tmp_path / f"im{k}.png") for k in range(12, 0, -1)]
    np.testing.assert_array_equal(load(listed).values[0, :, 0, 0], want)
    lazy = load(tmp_path, chunks={})
    np.testing.assert_array_equal(lazy[0, ::-3, 1:, ::2].values[:, 0, 0], want[::-3])
    assert load(tmp_path, format_options={"volumes": 3}).shape == (3, 4, 3, 4)
    with pytest.raises(FormatError, match="12 pages"):
        load(tmp_path, format_options={"volumes": 5})


def test_pictures_of_other_sizes_are_other_images(pil: Any, tmp_path: Path) -> None:
    for k in range(4):
        pil.fromarray(np.full((3, 4 + k // 3), k, "u1")).save(tmp_path / f"{k}.png")
    with pytest.raises(SeriesError, match=r"4 x 3 x 3 .*\n.*5 x 3 x 1"):
        load(tmp_path)
    assert load(tmp_path, series=0).sizes["slice"] == 3


def test_exif_orientation_is_undone(pil: Any, tmp_path: Path) -> None:
    from PIL import ImageOps

    values = np.kron(ramp(3, 5) * 15, np.ones((16, 16))).astype("u1")
    for orientation in range(1, 9):
        for kind in ("png", "jpg"):
            path = tmp_path / f"{orientation}.{kind}"
            exif = pil.Exif()
            exif[0x0112] = orientation
            pil.fromarray(values).save(path, exif=exif)
            with pil.open(path) as picture:
                want = np.asarray(ImageOps.exif_transpose(picture))
            np.testing.assert_array_equal(load(path).values[0, 0], want)


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "RGB", "P", "grey P", "RGBA", "LA"])
def test_kinds_of_pixels(pil: Any, tmp_path: Path, mode: str) -> None:
    rng = np.random.default_rng(3)
    colours = rng.integers(0, 256, (6, 7, 3)).astype("u1")
    opaque = pil.fromarray(colours)
    if mode == "I;16":
        picture = pil.fromarray(rng.integers(0, 65536, (6, 7)).astype("u2"))
    elif mode == "grey P":
        picture = opaque.convert("L").quantize(16)
        table = np.array(picture.getpalette()).reshape(-1, 3)[:, :1].repeat(3, 1)
        picture.putpalette(table.ravel().tolist())
    else:
        picture = opaque.convert("L").convert(mode) if mode in ("1", "LA") else opaque.convert(mode)
    picture.save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = load(tmp_path / "a.png").load()
    with pil.open(tmp_path / "a.png") as judge:
        if mode in ("RGB", "P", "RGBA"):
            want = np.asarray(judge.convert("RGB"))
        else:
            want = np.asarray(judge.convert("L") if mode in ("grey P", "LA") else judge)
    assert back.dims[-1] == ("rgb" if want.ndim == 3 else "col")
    np.testing.assert_array_equal(back.values[0, 0], want)


def test_transparency_is_said(pil: Any, tmp_path: Path) -> None:
    values = np.full((2, 3, 4), 200, "u1")
    pil.fromarray(values).save(tmp_path / "a.png")
    with pytest.warns(ImagedataWarning, match="transparent"):
        back = load(tmp_path / "a.png").load()
    np.testing.assert_array_equal(back.values[0, 0], values[..., :3])


def test_colour_of_16_bits_and_cmyk_are_refused(pil: Any, tmp_path: Path) -> None:
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(13))) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(FormatError, match="16 bits"):
        load(tmp_path / "a.png")
    pil.new("CMYK", (3, 4)).save(tmp_path / "a.jpg")
    with pytest.raises(FormatError, match="CMYK"):
        load(tmp_path / "a.jpg")


@pytest.mark.parametrize(("dpi", "want"), [((300, 150), [25.4 / 150, 25.4 / 300]), ((72, 72), None), ((96, 96), None)])
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_spacing_is_believed_where_it_can_be(pil: Any, tmp_path: Path, kind: str, dpi: Any, want: Any) -> None:
    pil.fromarray(ramp(3, 4)).save(tmp_path / f"a.{kind}", dpi=dpi)
    got: Any = load(tmp_path / f"a.{kind}").attrs.get("NominalScannedPixelSpacing")
    assert (got is None) == (want is None)
    if want is not None:
        np.testing.assert_allclose(got, want, rtol=1e-3)


def test_dicom_files_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(instance()))
    assert load(tmp_path / "a.png").imd.header is not None


def test_pictures_beside_other_images_are_passed_over(pil: Any, tmp_path: Path) -> None:
    series().imd.write(str(tmp_path / "a.nii.gz"))
    pil.fromarray(ramp(3, 4)).save(tmp_path / "look.png")
    assert load(tmp_path).shape == series().shape


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_damaged_files_are_our_errors(pil: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    pil.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50)).astype("u1")).save(path)
    data = path.read_bytes()
    for keep in (0, 4, 20, len(data) // 2):
        path.write_bytes(data[:keep])
        with pytest.raises(ImagedataError, match=path.name):
            load(path).load()
    rng = np.random.default_rng(5)
    for _ in range(60):
        bad = bytearray(data)
        for at in rng.integers(0, 200, 4):
            bad[at] = rng.integers(0, 256)
        path.write_bytes(bad)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                load(path).load()
            except ImagedataError:
                continue


def test_a_place_is_given_by_another_image(tmp_path: Path) -> None:
    image = series().isel(tag=[0])
    with pytest.warns(ImagedataWarning):
        image.imd.write(str(tmp_path / "p" / "a.png"))
    back = load(tmp_path / "p", geometry=image)
    np.testing.assert_allclose(back.imd.affine, image.imd.affine)


def test_the_command_converts_to_pictures_and_back(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from imagedata_xr.cli import main

    image = series().isel(tag=[0])
    image.imd.write(str(tmp_path / "a.nii.gz"))
    run = CliRunner().invoke(main, ["convert", str(tmp_path / "p" / "a.png"), str(tmp_path / "a.nii.gz")])
    assert run.exit_code == 0, run.output
    assert sorted(p.name for p in (tmp_path / "p").iterdir()) == ["a_001.png", "a_002.png", "a_003.png"]
    run = CliRunner().invoke(main, ["convert", str(tmp_path / "d"), str(tmp_path / "p")])
    assert run.exit_code == 0, run.output
    back = load(tmp_path / "d")
    np.testing.assert_array_equal(back.values.ravel(), load(tmp_path / "p").values.ravel())
