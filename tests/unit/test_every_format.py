"""Every format that is written, as they are registered: all kinds of values, and writes that fail on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import xarray as xr
from format_conformance import DTYPES, SECRETS, patient_attrs
from nifti_phantoms import series

from imagedata_xr.errors import FormatError, ImagedataError, ImagedataWarning
from imagedata_xr.formats.seam import formats, missing, writes

WRITTEN = sorted(name for name, form in formats().items() if writes(form))
NAMES = {"dicom": "out"}  # others: a, with the first extension
HOW: dict[str, dict[str, Any]] = {"png": {"window": "none"}, "jpeg": {"window": "none", "quality": 100}}
IDENTIFIED = {"dicom", "zarr", "netcdf"}  # hold headers, names and identifiers among them

HARD: dict[str, tuple[Any, ...]] = {
    "zeros": (0.0,),
    "a constant": (7.25,),
    "NaN": (np.nan, 1.5, -3.0),
    "infinities": (np.inf, -np.inf, 1.5),
    "nothing but NaN": (np.nan,),
    "tiny": (1e-38, 3e-38, -2e-38),
    "huge": (3e38, -3e38, 1.0),
    "a wide range": (1e-20, 1e20),
    "beyond the stored type": (-40000.0, 70000.0, 3.0),
}


@pytest.fixture(params=WRITTEN)
def name(request: pytest.FixtureRequest, require_module: Any) -> str:
    """Every format that is written."""
    form = formats()[request.param]
    if missing(form):
        require_module(getattr(form, "needs").module)  # noqa: B009
    return str(request.param)


def target(name: str, folder: Path) -> Path:
    """Path to write a format to."""
    return folder / NAMES.get(name, f"a{formats()[name].extensions[0]}")


@contextmanager
def quietly() -> Iterator[None]:
    """Leave warnings out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)
        yield


def written(name: str, image: xr.DataArray, folder: Path) -> xr.DataArray | None:
    """Write and read an image; None where it is refused with a reason, and nothing is left."""
    try:
        with quietly():
            image.imd.write(str(target(name, folder)), format=name, format_options=HOW.get(name, {}))
    except FormatError:
        assert not list(folder.iterdir())
        return None
    exact = image.dtype.kind in "iu" and image.dtype.itemsize == 8 and name != "dicom"
    paths = sorted(folder.iterdir())
    source: Any = str(paths[0]) if len(paths) == 1 else [str(p) for p in paths if p.suffix not in (".json", ".raw")]
    with quietly():
        return xr.open_dataarray(source, engine="imagedata", mask_and_scale=not exact).load()


def step(name: str, folder: Path) -> float:
    """Largest step between values that a file holds: 0 where all are exact."""
    if name == "jpeg":
        return 6.0  # packed with loss
    if name != "dicom":
        return 0.0
    headers = (pydicom.dcmread(p, stop_before_pixels=True) for p in folder.rglob("*") if p.is_file())
    return max(float(h.get("RescaleSlope", 0)) if float(h.get("RescaleSlope", 1)) != 1 else 0.0 for h in headers)


def compare(name: str, got: xr.DataArray, want: xr.DataArray, folder: Path) -> None:
    """Values are equal, or differ by half a step."""
    a, b = got.values.reshape(want.shape), want.values * (255 if name == "jpeg" and want.dtype == bool else 1)
    if b.dtype.kind in "biu" and step(name, folder) == 0:
        np.testing.assert_array_equal(a.astype(object), b.astype(object))
        return
    a, b = a.astype(np.complex128), b.astype(np.complex128)
    special = ~np.isfinite(b)
    np.testing.assert_array_equal(a[special], b[special])
    half = step(name, folder) / 2 * (1 + 1e-6) + 2e-7 * np.abs(b[~special]).max(initial=0)
    assert np.abs(a - b)[~special].max(initial=0) <= (half if step(name, folder) else 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_type_is_kept_or_refused(name: str, dtype: str, tmp_path: Path) -> None:
    image = series(values=[0.0, 1.0], stored=None)
    kind = np.dtype(dtype).kind
    data = np.random.default_rng(2).random(image.shape)
    if kind in "iu":
        info = np.iinfo(dtype)
        data = (data * 100).astype(dtype)
        data.flat[0], data.flat[-1] = info.max, info.min
    elif kind == "c":
        data = data + 1j * data[..., ::-1]
    image = image.copy(data=(data > 0.5) if kind == "b" else data.astype(dtype))
    back = written(name, image, tmp_path)
    if back is None:
        assert name not in ("zarr", "nifti", "metaio", "nrrd", "mat") or kind == "c" or image.dtype.itemsize == 8
        return
    compare(name, back, image, tmp_path)


@pytest.mark.parametrize(("dtype", "stored"), [("float32", "int16"), ("float64", None)])
@pytest.mark.parametrize("kind", HARD)
def test_hard_values_are_kept_or_refused(name: str, kind: str, dtype: str, stored: str | None, tmp_path: Path) -> None:
    image = series(values=[0.0, 1.0], dtype=dtype, stored=stored)
    image = image.copy(data=np.resize(np.array(HARD[kind], dtype=dtype), image.shape))
    with np.errstate(all="ignore"):
        back = written(name, image, tmp_path)
    if back is not None:
        compare(name, back, image, tmp_path)


def test_nobody_is_named(name: str, tmp_path: Path) -> None:
    if name in IDENTIFIED:
        return
    image = series(values=[0.0, 1.0], attrs=patient_attrs())
    when = np.array(["2024-03-05T10:00"] * 2, dtype="M8[us]")
    image = image.assign_coords(acquisition_time=("tag", when), patient=7, study=8, source="/data/Meyer/P-4711")
    image["tag"].attrs["epoch"] = "2024-03-05T10:00:00"
    with quietly():
        (image // 5).assign_attrs(image.attrs).imd.write(
            str(target(name, tmp_path)), format=name, format_options=HOW.get(name, {})
        )
    for path in tmp_path.rglob("*"):
        content = path.read_bytes()
        found = [s for s in SECRETS for code in ("utf-8", "utf-16-le", "utf-16-be") if s.encode(code) in content]
        assert not found, (path.name, found)


# --- writes that fail -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [False, True])
def test_a_chunk_that_fails(name: str, old: bool, tmp_path: Path) -> None:
    dask_array = pytest.importorskip("dask.array")

    def late(block: Any, block_info: Any = None) -> Any:
        if block_info[0]["chunk-location"][0] == 1:
            raise RuntimeError("no such luck")
        return block

    image = series(values=[0.0, 1.0])
    how: dict[str, Any] = {"format": name, "format_options": HOW.get(name, {}), "overwrite": True}
    if old:
        with quietly():
            (image // 5).imd.write(str(target(name, tmp_path)), **how)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    data = dask_array.from_array(image.values // 5, chunks=(1, -1, -1, -1)).map_blocks(late, dtype="f4")
    with pytest.raises(RuntimeError, match="luck"), quietly():
        image.copy(data=data).imd.write(str(target(name, tmp_path)), **how)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert old or not list(tmp_path.iterdir())


_FULL = """
import json, resource, signal, sys, warnings
from pathlib import Path
sys.path.insert(0, {tests!r})
warnings.simplefilter("ignore")
import numpy as np, xarray as xr
from nifti_phantoms import series
import imagedata_xr
from imagedata_xr.errors import ImagedataError
image = series(values=[0.0, 1.0], shape=(3, 80, 90), stored="uint8")
image = image.copy(data=np.random.default_rng(0).integers(0, 256, image.shape).astype("f4"))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
said = {{}}
for name, (path, how) in json.loads({targets!r}).items():
    Path(path).parent.mkdir()
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
    try:
        image.imd.write(path, format=name, format_options=how)
        text = "written"
    except (ImagedataError, OSError) as error:
        text = f"{{type(error).__name__}}: {{error}}"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    said[name] = [text, [str(p) for p in Path(path).parent.rglob("*")]]
print(json.dumps(said))
"""


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    names = [n for n in WRITTEN if not missing(formats()[n])]
    targets = json.dumps({n: [str(target(n, tmp_path / n)), HOW.get(n, {})] for n in names})
    script = _FULL.format(tests=str(Path(__file__).parent.parent), targets=targets)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert set(said) == set(names)
    for form, (text, left) in said.items():
        assert text.startswith("SourceError: "), (form, text)
        assert not left, (form, left)


_SLOW = """
import sys, time, numpy as np, dask.array, imagedata_xr
sys.path.insert(0, {tests!r})
from nifti_phantoms import series
image = series() // 5
def slow(block, block_info=None):
    if block_info[0]["chunk-location"][0] == 2:
        print("now", flush=True); time.sleep(60)
    return block
data = dask.array.from_array(image.values, chunks=(1, -1, -1, -1)).map_blocks(slow, dtype="f4")
image.copy(data=data).imd.write({target!r}, format={name!r}, format_options={how!r})
"""


def test_a_process_that_is_killed(name: str, tmp_path: Path) -> None:
    path = target(name, tmp_path)
    script = _SLOW.format(tests=str(Path(__file__).parent.parent), target=str(path), name=name, how=HOW.get(name, {}))
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"now"
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    # whatever is left has a name that no one takes for an image
    assert all(p.name.startswith(".") for p in tmp_path.iterdir())
    with pytest.raises(ImagedataError):
        xr.open_dataarray(str(path), engine="imagedata")
    image = series() // 5
    (tmp_path / "again").mkdir()
    back = written(name, image, tmp_path / "again")
    assert back is not None
    compare(name, back, image, tmp_path / "again")


def test_damage_is_no_reason_to_guess(name: str, tmp_path: Path) -> None:
    if name in ("zarr", "netcdf", "dicom"):
        return  # tested where they are
    image = series(values=[0.0], order="none", units="1").isel(slice=[0])
    with quietly():
        (image // 5).imd.write(str(target(name, tmp_path)), format=name, format_options=HOW.get(name, {}))
    path = target(name, tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImagedataError), quietly():
        xr.open_dataarray(str(path), engine="imagedata", errors="raise").load()
