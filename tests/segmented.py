"""Segmentations of a phantom series, made by highdicom or by hand, whose masks are made of the places of voxels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pydicom
import xarray as xr
from numpy.typing import NDArray
from pydicom.dataset import Dataset

SHAPE = (6, 7, 9)  # 63 pixels: frames of single bits do not begin on bytes
BACKGROUND = 0


def series(**changes: Any) -> phantoms.Series:
    """An oblique CT series of 6 slices."""
    return phantoms.ct(**{"shape": (1, *SHAPE), "orientation": phantoms.OBLIQUE, **changes})


def masks(made_of: phantoms.Series) -> NDArray[np.uint8]:
    """Three overlapping segments, shape (3, slices, rows, cols): a half space, a ball, and what lies in one slice.

    The first lies in slices 1 to 3, the second in 2 to 4, the third in slice 4.
    """
    _, slices, rows, cols = made_of.shape
    place = np.stack([made_of.positions(k) for k in range(slices)])
    out = np.zeros((3, slices, rows, cols), dtype=np.uint8)
    out[0, 1:4] = (place @ [0.3, 1.0, 0.2] > np.median(place @ [0.3, 1.0, 0.2]))[1:4]
    out[1, 2:5] = (np.linalg.norm(place - ball(made_of), axis=-1) < 5)[2:5]
    out[2, 4] = place[4, ..., 0] > place[4, ..., 0].mean()
    return out


def ball(made_of: phantoms.Series) -> NDArray[np.float64]:
    """Centre of the ball, LPS mm."""
    return np.asarray(made_of.positions(3)[3, 4] + 0.3 * made_of.step())


def describe(number: int, label: str, **more: Any) -> Any:
    """Description of a segment."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    return hd.seg.SegmentDescription(
        number, label, codes.SCT.Organ, codes.SCT.Liver, hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        hd.AlgorithmIdentificationSequence("thresholds", codes.DCM.ArtificialIntelligence, "1"), **more,
    )  # fmt: skip


def segmentation(
    files: Sequence[Path],
    pixels: NDArray[Any],
    kind: str = "BINARY",
    numbers: Sequence[int] = (1, 2, 3),
    **options: Any,
) -> Dataset:
    """Segmentation by highdicom.

    Parameters
    ----------
    files
        Of the series.
    pixels : ndarray
        Shape (segments, slices, rows, cols), or (slices, rows, cols) with numbers of segments.
    """
    import highdicom as hd

    source = [pydicom.dcmread(f) for f in files]
    array = np.moveaxis(pixels, 0, -1) if pixels.ndim == 4 else pixels
    labels = {n: f"segment {n}" for n in numbers}
    described = options.pop("descriptions", None) or [describe(n, labels[n]) for n in numbers]
    return hd.seg.Segmentation(
        source, array, kind, described, hd.UID(), 77, hd.UID(), 1, "Mathematics", "Masks", "1", "D-1",
        **{"transfer_syntax_uid": "1.2.840.10008.1.2.1", **options},
    )  # fmt: skip


def save(ds: Dataset, path: Path) -> Path:
    """Write a file, where its folder may be missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def images(source: Path, **options: Any) -> tuple[xr.DataArray, xr.DataArray]:
    """The image and the segmentation of a source with both."""
    tree: Any = xr.open_datatree(source, engine="imagedata", **options)
    found = [node["image"] for node in tree.subtree if "image" in node.data_vars]
    (image,) = [a for a in found if a.attrs["Modality"] != "SEG"]
    (segments,) = [a for a in found if a.attrs["Modality"] == "SEG"]
    return image, segments


MASKS = masks(series())


def label_map() -> NDArray[np.uint8]:
    """Numbers 1, 2, 3; later ones over earlier ones."""
    out = np.zeros(SHAPE, dtype=np.uint8)
    for number in (1, 2, 3):
        out[MASKS[number - 1] > 0] = number
    return out
