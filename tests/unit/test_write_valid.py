"""What is written is valid DICOM, as dicom3tools judge it."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pytest
import xarray as xr
from phantoms import make, opened

import imagedata_xr
from imagedata_xr.dicom.writing.write import write
from imagedata_xr.errors import ImagedataWarning
from imagedata_xr.formats.seam import WriteOptions
from imagedata_xr.model.image import Axis, Volumes, build
from imagedata_xr.model.indexes import Space

Judge = Callable[[str | Path], list[str]]


@pytest.fixture(scope="session")
def errors(require_program: Callable[[str], Path]) -> Judge:
    """Errors that `dciodvfy` finds in a file."""
    program = require_program("dciodvfy")

    def judge(path: str | Path) -> list[str]:
        done = subprocess.run([program, "-new", str(path)], capture_output=True, text=True, check=False)
        return [line for line in done.stderr.splitlines() if line.startswith("Error")]

    return judge


def joined(image: xr.DataArray) -> xr.DataArray:
    """As after a computation with another image: no instance, no source, no per-image times."""
    return image.drop_vars(["instance", "source", "acquisition_time", "slice_time", "decay_factor"], errors="ignore")


SERIES = {
    "mr": phantoms.mr(shape=(2, 3, 6, 8)),
    "mr rescaled": phantoms.mr(slope=2.5, intercept=-3142.0),
    "diffusion": phantoms.mr(
        shape=(3, 2, 6, 8), volumes=phantoms.diffusion([0, 700, 700], [(0, 0, 0), (1, 0, 0), (0, 0.6, 0.8)])
    ),
    "mr of a paired part": phantoms.mr(elements={"BodyPartExamined": "KNEE", "Laterality": "L"}),
    "ct": phantoms.ct(),
    "ct tilted": phantoms.ct(travel=(0.0, 0.8, 3.0)),
    "pet": phantoms.pet(),
    "pet static": phantoms.pet(shape=(1, 4, 6, 8)),
}
CHANGES: dict[str, Callable[[xr.DataArray], Any]] = {
    "same": lambda a: a,
    "crop": lambda a: a.isel(row=slice(1, 4)),
    "float": lambda a: a * 0.37,
    "nan": lambda a: a.where(a > a.mean()) * 0.37,
    "mask": lambda a: a > a.mean(),
    "one image": lambda a: a.isel(tag=0, slice=0) * 0.37,
    "joined": joined,
    "joined, float": lambda a: joined(a) * 0.37,
    "no patient": lambda a: joined(a).drop_vars("patient"),
    "no study": lambda a: a.drop_vars("study"),
    "mean of volumes": lambda a: a.mean("tag"),
}


@pytest.mark.parametrize("kind", SERIES)
@pytest.mark.parametrize("change", CHANGES)
def test_no_errors_where_the_source_has_none(kind: str, change: str, tmp_path: Path, errors: Judge) -> None:
    source = make(tmp_path / "in", SERIES[kind])
    assert errors(source[0]) == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImagedataWarning)
        done = write(CHANGES[change](opened(tmp_path / "in")), str(tmp_path / "out"), WriteOptions())
    assert errors(done.paths[0]) == []
    assert errors(done.paths[-1]) == []


@pytest.mark.parametrize("kind", SERIES)
def test_the_files_of_a_series_belong_together(
    kind: str, tmp_path: Path, require_program: Callable[[str], Path]
) -> None:
    program = require_program("dcentvfy")
    make(tmp_path / "in", SERIES[kind])
    done = write(opened(tmp_path / "in") * 0.37, str(tmp_path / "out"), WriteOptions())
    judged = subprocess.run([program, *done.paths], capture_output=True, text=True, check=False)
    assert judged.stderr + judged.stdout == ""


def from_scratch(modality: str, dtype: str, place: bool) -> xr.DataArray:
    rng = np.random.default_rng(1)
    data = rng.integers(0, 200, (2, 3, 4, 5)).astype(dtype) * (1 if dtype == "uint8" else 0.37)
    axes = {n: Axis(np.arange(size) * 2.0, 2.0) for n, size in zip(("slice", "row", "col"), (3, 4, 5), strict=True)}
    return build(
        data.astype(dtype),
        volumes=[Volumes(np.arange(2.0), {"order": "time", "units": "s"})],
        axes=axes if place else {n: Axis(np.arange(a.labels.size), 1.0) for n, a in axes.items()},  # type: ignore[union-attr]
        space=Space(np.eye(3)[:, [2, 1, 0]]) if place else None,
        attrs={"Modality": modality} if modality else {},
    )["image"]


@pytest.mark.parametrize(
    ("modality", "place"),
    [*((m, True) for m in ("MR", "CT", "PT", "", "DX")), ("", False), ("DX", False)],  # MR, CT and PET demand a place
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.filterwarnings("ignore::imagedata_xr.errors.ImagedataWarning")
def test_an_image_without_a_source_is_valid(
    modality: str, dtype: str, place: bool, tmp_path: Path, errors: Judge
) -> None:
    image = from_scratch(modality, dtype, place)
    done = write(image, str(tmp_path / "out"), WriteOptions())
    assert errors(done.paths[0]) == []
    back = opened(tmp_path / "out")
    assert np.allclose(back.values.ravel(), image.values.ravel(), atol=1e-2)
    if place:
        assert back.sizes == image.sizes
        assert back.tag.attrs["order"] == "time"
        assert np.allclose(back.tag, image.tag)


@pytest.mark.parametrize("case_name", ["imd_time", "imd_tra_oblique", "imd_sag_oblique", "ge_dwi_r2", "phi_cl_fmri"])
@pytest.mark.filterwarnings("ignore::imagedata_xr.errors.ImagedataWarning")
def test_real_cases_get_no_more_errors(
    case_name: str, case: Callable[[str], Path], tmp_path: Path, errors: Judge
) -> None:
    image = opened(case(case_name))
    part = image.isel(tag=slice(0, 1))
    before = write(part, str(tmp_path / "same"), WriteOptions())
    allowed = len(errors(before.paths[0]))
    after = write(part * 0.37, str(tmp_path / "out"), WriteOptions())
    assert len(errors(after.paths[0])) <= allowed


@pytest.mark.parametrize("modality", ["MR", "CT", "PT", ""])
@pytest.mark.parametrize(
    ("order", "tags"),
    [
        ("time", [0, 1, 3.5]),
        ("time", [0, 2, 4]),
        ("triggertime", [0, 100, 250]),
        ("b", [0, 500, 1000]),
        ("te", [9, 20, 35]),
    ],
)
@pytest.mark.filterwarnings("ignore::imagedata_xr.errors.ImagedataWarning")
def test_volumes_of_an_array_are_told_apart_validly(
    modality: str, order: str, tags: list[float], tmp_path: Path, errors: Judge
) -> None:
    values = np.arange(120, dtype="u1").reshape(3, 2, 4, 5)
    image = imagedata_xr.from_array(values, spacing=(3, 1, 1), order=order, tags=tags)
    image.attrs |= {"Modality": modality} if modality else {}
    done = image.imd.write(tmp_path / "out", format="dicom")
    assert errors(done.paths[-1]) == []
    back = opened(tmp_path / "out")
    np.testing.assert_array_equal(back.values, image.values)
    # a time since a trigger comes back as a time, in s
    np.testing.assert_allclose(back.tag, image.tag / (1000 if order == "triggertime" else 1))
