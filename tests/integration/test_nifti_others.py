"""NIfTI against other programs: SimpleITK finds each voxel at its place, dcm2niix has the same directions."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import xarray as xr
from nifti_phantoms import DIRECTIONS, OBLIQUE, coordinates, read, series, write
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

import imagedata_xr
from imagedata_xr.model.geometry import labels_of


@pytest.mark.parametrize("name", [n for n in DIRECTIONS if n != "sheared"])
@pytest.mark.parametrize("part", [{}, {"slice": [1]}, {"row": slice(1, 4), "col": slice(None, None, 2)}], ids=str)
def test_simpleitk_finds_each_voxel_at_its_place(
    tmp_path: Path, require_module: Callable[[str], ModuleType], name: str, part: dict[str, Any]
) -> None:
    sitk: Any = require_module("SimpleITK")
    image = coordinates(DIRECTIONS[name]).isel(part)
    for k, axis in enumerate("xyz"):
        path = tmp_path / f"{axis}.nii.gz"
        write(image.isel(tag=k), path)
        img = sitk.ReadImage(str(path))
        values = sitk.GetArrayFromImage(img)
        for at in np.ndindex(*values.shape):
            place = img.TransformIndexToPhysicalPoint(tuple(reversed(at)))  # LPS
            assert values[at] == pytest.approx(place[k], abs=1e-3)


def test_simpleitk_writes_what_we_read(tmp_path: Path, require_module: Callable[[str], ModuleType]) -> None:
    sitk: Any = require_module("SimpleITK")
    image = coordinates(OBLIQUE).isel(tag=1)
    write(image, tmp_path / "a.nii")
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "a.nii")), str(tmp_path / "b.nii.gz"))
    np.testing.assert_array_equal(read(tmp_path / "b.nii.gz").values, read(tmp_path / "a.nii").values)
    for axis in ("slice", "row", "col"):
        np.testing.assert_allclose(read(tmp_path / "b.nii.gz")[axis], image[axis], atol=1e-3)


B_VALUES = (0.0, 700.0, 700.0, 1000.0)


def directions() -> NDArray[np.float64]:
    """Directions in LPS; the first volume has none."""
    g = np.random.default_rng(2).normal(size=(4, 3))
    g /= np.linalg.norm(g, axis=1, keepdims=True)
    g[0] = 0
    return np.asarray(g)


POSITION = (-10.0, -20.0, 30.0)
SPACING = (3.5, 2.0, 2.0)


def voxels() -> NDArray[np.uint16]:
    """Stored values, (volume, slice, row, col)."""
    return np.random.default_rng(0).integers(1, 4000, (4, 3, 8, 10), dtype=np.uint16)


def diffusion_image(direction: NDArray[np.float64]) -> xr.DataArray:
    """The series as an image of ours."""
    first = labels_of(direction, POSITION)
    coords = {
        "b_value": (("tag",), np.array(B_VALUES)),
        **{f"b_vector_{x}": (("tag",), directions()[:, k]) for k, x in enumerate("xyz")},
    }
    return series(
        np.arange(4.0),
        order="dti",
        units="1",
        coords=coords,
        direction=direction,
        shape=(3, 8, 10),
        spacing=SPACING,
        first=first,
    ).copy(data=voxels().astype(np.float32))


def diffusion_series(folder: Path, direction: NDArray[np.float64]) -> None:
    """Diffusion series as Siemens writes it: 4 volumes of 3 slices."""
    stored = voxels()
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    number = 0
    for v, (b, g) in enumerate(zip(B_VALUES, directions(), strict=True)):
        for s in range(3):
            number += 1
            ds = pydicom.Dataset()
            ds.file_meta = FileMetaDataset()
            ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, generate_uid()
            ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
            ds.PatientName, ds.PatientID = "Phantom^A", "P1"
            ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "MR", "SIEMENS", "Prisma"
            ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = 4, number, v + 1
            ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = "20240102"
            ds.StudyTime = ds.SeriesTime = "120000"
            ds.AcquisitionTime = f"1200{2 * v:02d}.{s}00000"
            ds.SeriesDescription = ds.ProtocolName = "diff"
            ds.ImageType = ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE", "ND"]
            ds.ScanningSequence, ds.SequenceVariant, ds.MRAcquisitionType = "EP", "SK", "2D"
            ds.SequenceName = f"*ep_b{b:g}#{v}" if b else "*ep_b0"
            ds.RepetitionTime, ds.EchoTime, ds.FlipAngle = 2000, 80, 90
            ds.Rows, ds.Columns, ds.PixelSpacing, ds.SliceThickness = 8, 10, [2.0, 2.0], 3
            ds.ImageOrientationPatient = [*direction[:, 2], *direction[:, 1]]
            ds.ImagePositionPatient = [*(np.array(POSITION) + SPACING[0] * s * direction[:, 0])]
            ds.BitsAllocated = ds.BitsStored = 16
            ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 15, 0, 1
            ds.PhotometricInterpretation = "MONOCHROME2"
            block = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
            block.add_new(0x0C, "IS", int(b))
            block.add_new(0x0D, "CS", "DIRECTIONAL" if b else "NONE")
            if b:
                block.add_new(0x0E, "FD", g.tolist())
                block.add_new(0x27, "FD", (b * np.outer(g, g))[np.triu_indices(3)].tolist())
            ds.PixelData = stored[v, s].tobytes()
            ds.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)


@pytest.mark.parametrize("name", ["axial", "sagittal", "coronal", "oblique"])
def test_dcm2niix_agrees(tmp_path: Path, require_program: Callable[[str], Path], name: str) -> None:
    program = require_program("dcm2niix")
    for folder in ("dicom", "theirs", "ours"):
        (tmp_path / folder).mkdir()
    diffusion_series(tmp_path / "dicom", np.round(DIRECTIONS[name], 8))
    done = subprocess.run(
        [program, "-z", "n", "-f", "a", "-o", tmp_path / "theirs", tmp_path / "dicom"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (tmp_path / "theirs" / "a.nii").exists(), done.stdout
    image = diffusion_image(np.round(DIRECTIONS[name], 8))
    write(image, tmp_path / "ours" / "a.nii")
    theirs: Any = nib.load(tmp_path / "theirs" / "a.nii")
    ours: Any = nib.load(tmp_path / "ours" / "a.nii")
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
    for e in ("bval", "bvec"):
        mine, other = (np.loadtxt(tmp_path / who / f"a.{e}") for who in ("ours", "theirs"))
        np.testing.assert_allclose(mine, other, atol=1e-5)
    back = read(tmp_path / "theirs" / "a.nii")
    np.testing.assert_allclose(np.stack([back[f"b_vector_{x}"] for x in "xyz"], axis=1), directions(), atol=1e-5)
    assert abs(back - image).max() == 0


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64", "complex64", "rgb"]
)
def test_simpleitk_and_nibabel_read_every_type(
    tmp_path: Path, require_module: Callable[[str], ModuleType], dtype: str
) -> None:
    sitk: Any = require_module("SimpleITK")
    image = series(stored=None).isel(tag=[0])
    data: NDArray[Any] = np.random.default_rng(1).integers(0, 120, (*image.shape, *([3] if dtype == "rgb" else [])))
    data = data.astype("u1" if dtype == "rgb" else dtype)
    if data.dtype.kind in "iu":
        data.flat[:2] = np.iinfo(data.dtype).min, np.iinfo(data.dtype).max
    if data.dtype.kind == "c":
        data = data * np.complex64(1 - 2j)
    image = xr.DataArray(data, dims=(*image.dims, *(["rgb"] if dtype == "rgb" else [])), coords=image.coords)
    write(image, tmp_path / "a.nii")
    seen = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nii")))
    np.testing.assert_array_equal(seen[:, ::-1], data[0])  # rows run backwards in the file
    made: Any = nib.load(tmp_path / "a.nii")
    ours = image.imd.to_nibabel()
    assert ours.get_data_dtype() == made.get_data_dtype()
    np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(made.dataobj))
    np.testing.assert_allclose(ours.affine, made.affine, rtol=1e-6, atol=1e-6)  # of 32 bits in the file
    for nibabel_image in (made, ours):
        back = imagedata_xr.from_nibabel(nibabel_image).image
        np.testing.assert_array_equal(back.values, data)
        np.testing.assert_allclose(back.imd.affine, image.imd.affine, atol=1e-4)
