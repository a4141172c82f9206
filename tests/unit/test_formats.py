"""Every format against what all must hold to; see `format_conformance`."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from format_conformance import Conformance, by_octave, by_sitk, places_of
from numpy.typing import NDArray

WHOLE = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32")
FLOATS = ("float16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
LONG = ("int64", "uint64")


class TestNifti(Conformance):
    """NIfTI, judged by nibabel."""

    format, extension = "nifti", ".nii"
    dtypes = WHOLE + FLOATS + COMPLEX
    refused = LONG  # beyond 2**53
    exact = 2e-4  # its affine is float32

    def warns(self, direction: str) -> bool:
        return direction == "sheared"

    def places(self, path: Path) -> tuple[NDArray[np.float64], NDArray[Any]]:
        image: Any = nib.load(path)
        affine = np.diag([-1.0, -1, 1, 1]) @ image.affine
        return places_of(affine, image.shape[:3]), np.moveaxis(np.asarray(image.dataobj), -1, 0)


class TestMetaIO(Conformance):
    """MetaIO, judged by SimpleITK."""

    format, extension = "metaio", ".mha"
    dtypes = WHOLE + FLOATS + COMPLEX + LONG

    @pytest.fixture(autouse=True)
    def _sitk(self, require_module: Any) -> None:
        self.sitk = require_module("SimpleITK")

    def places(self, path: Path) -> tuple[NDArray[np.float64], NDArray[Any]]:
        return by_sitk(self.sitk, path)


class TestNrrd(Conformance):
    """NRRD, judged by SimpleITK."""

    format, extension = "nrrd", ".nrrd"
    dtypes = WHOLE + FLOATS + COMPLEX + LONG

    @pytest.fixture(autouse=True)
    def _sitk(self, require_module: Any) -> None:
        self.sitk = require_module("SimpleITK")

    def places(self, path: Path) -> tuple[NDArray[np.float64], NDArray[Any]]:
        return by_sitk(self.sitk, path)


class TestPackedNrrd(TestNrrd):
    """NRRD by gzip, judged by pynrrd."""

    how = MappingProxyType({"compress": True})

    @pytest.fixture(autouse=True)
    def _nrrd(self, require_module: Any) -> None:
        self.nrrd = require_module("nrrd")

    def places(self, path: Path) -> tuple[NDArray[np.float64], NDArray[Any]]:
        values, header = self.nrrd.read(str(path))
        assert header["space"] == "left-posterior-superior"
        affine = np.eye(4)
        affine[:3, :3] = header["space directions"][:3].T
        affine[:3, 3] = header["space origin"]
        return places_of(affine, values.shape[:3]), np.moveaxis(values, -1, 0)


class TestMgh(Conformance):
    """MGH, judged by nibabel."""

    format, extension = "mgh", ".mgh"
    dtypes = ("bool", "int8", "uint8", "int16", "uint16", "int32", "float16", "float32")
    refused = ("uint32", "int64", "uint64", "float64", *COMPLEX)
    labels = ("time", "echo_time")
    keeps = ()
    rgb = False
    single = True
    timed = MappingProxyType({"order": "time"})
    exact = 2e-4  # its affine is float32

    def places(self, path: Path) -> tuple[NDArray[np.float64], NDArray[Any]]:
        image: Any = nib.load(path)
        affine = np.diag([-1.0, -1, 1, 1]) @ image.affine
        return places_of(affine, image.shape[:3]), np.moveaxis(np.asarray(image.dataobj), -1, 0)


class TestMgz(TestMgh):
    """MGZ, judged by nibabel."""

    extension = ".mgz"


class TestMat(Conformance):
    """MAT version 5, judged by Octave."""

    format, extension = "mat", ".mat"
    dtypes = WHOLE + FLOATS + COMPLEX + LONG

    @pytest.fixture(autouse=True)
    def _octave(self, require_program: Any) -> None:
        self.octave = require_program("octave-cli")

    def places(self, path: Path) -> tuple[NDArray[np.float64], NDArray[Any]]:
        return by_octave(self.octave, path)


class TestMat73(TestMat):
    """MAT version 7.3, judged by Octave."""

    how = MappingProxyType({"version": "7.3"})

    @pytest.fixture(autouse=True)
    def _h5py(self, require_module: Any) -> None:
        require_module("h5py")


class TestTiff(Conformance):
    """TIFF, its pages judged by Pillow, and the place by the tag that holds it."""

    format, extension = "tiff", ".tif"
    dtypes = WHOLE + FLOATS
    refused = (*LONG, *COMPLEX)
    single = True  # Pillow reads no more; see test_tiff

    @pytest.fixture(autouse=True)
    def _pillow(self, require_module: Any) -> None:
        require_module("tifffile")
        self.pillow = require_module("PIL.Image")

    def places(self, path: Path) -> tuple[NDArray[np.float64], NDArray[Any]]:
        with self.pillow.open(path) as image:
            content = json.loads(image.tag_v2[65312])
            pages = []
            for k in range(image.n_frames):
                image.seek(k)
                pages.append(np.asarray(image))
        values = np.array(pages).reshape(content["volumes"], *content["size"])
        return places_of(np.array(content["affine"]).reshape(4, 4), values.shape[1:]), values


class TestPackedTiff(TestTiff):
    """TIFF with packed pages."""

    how = MappingProxyType({"compress": 4})
