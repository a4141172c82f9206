"""Every format against what all must hold to; see `format_conformance`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from format_conformance import Conformance, by_sitk, places_of
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
    labels = ("time", "b_value", "b_vector_x", "echo_time", "slice_time")
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
