"""Mosaics and grids as scanners write them, whose voxels hold a number made of their own place in the patient."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from imagedata_xr.dicom.framing.mosaic import TileColumns
from imagedata_xr.dicom.scanning.scan import Scan, scan
from imagedata_xr.stores.url import find

OBLIQUE = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
Csa = Mapping[str, Sequence[str]]


def csa2(values: Csa, multiplicity: int | None = None) -> bytes:
    """A CSA2 header; each tag has two items more than values, as scanners write them."""
    out = b"SV10\4\3\2\1" + struct.pack("<II", len(values), 77)
    for name, items in values.items():
        vm = len(items) if multiplicity is None else multiplicity
        out += struct.pack("<64si4siii", name.encode(), vm, b"DS\0\0", 3, len(items) + 2, 77)
        for item in [*items, "", ""]:
            raw = item.encode("latin-1") + b"\0" if item else b""
            out += struct.pack("<4i", len(raw), len(raw), 77, len(raw)) + raw + bytes(-len(raw) % 4)
    return out + bytes(4)


def csa1(values: Csa) -> bytes:
    """A CSA1 header: lengths are counted on top of the number of items of the first tag; all tags have six items."""
    out = struct.pack("<II", len(values), 77)
    for name, items in values.items():
        out += struct.pack("<64si4siii", name.encode(), len(items), b"DS\0\0", 3, 6, 77)
        for item in [*items, *[""] * (6 - len(items))]:
            raw = item.encode("latin-1") + b"\0" if item else b""
            out += struct.pack("<4i", len(raw) + 6, 77, 77, 77) + raw + bytes(-len(raw) % 4)
    return out


@dataclass
class Volume:
    """A volume to be laid out as tiles."""

    n: int = 7
    shape: tuple[int, int] = (4, 6)
    spacing: tuple[float, float, float] = (5.0, 2.0, 3.0)
    """Between slices, rows, columns, mm."""
    orientation: tuple[float, ...] = OBLIQUE
    sign: int = 1
    """Of the slice normal against cross(row, column)."""
    first: tuple[float, float, float] = (-40.0, 25.0, 60.0)

    @property
    def normal(self) -> NDArray[np.float64]:
        """From tile to tile."""
        return self.sign * np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def side(self) -> int:
        """Tiles per row of the picture."""
        return ceil(sqrt(self.n))

    def place(self, t: int, i: int, j: int) -> NDArray[np.float64]:
        """Of the voxel in slice t, row i and column j, LPS, mm."""
        r, c = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        ds, di, dj = self.spacing
        return np.array(self.first) + j * dj * r + i * di * c + t * ds * self.normal

    def picture(self, square: bool = True) -> NDArray[np.uint16]:
        """The tiles, and zeros after them; in a square grid, or in no more rows of tiles than they need."""
        h, w = self.shape
        down = self.side if square else ceil(self.n / self.side)
        out = np.zeros((down * h, self.side * w), dtype=np.uint16)
        for t in range(self.n):
            for i in range(h):
                for j in range(w):
                    out[t // self.side * h + i, t % self.side * w + j] = number(self.place(t, i, j))
        return out


def number(place: NDArray[np.float64]) -> int:
    """What a voxel at a place holds; another one for each voxel and for each mirror image."""
    return round(20000.0 + 7 * float(place[0]) + 61 * float(place[1]) + 29 * float(place[2]))


def picture(volume: Volume, image_type: Sequence[str], manufacturer: str, square: bool = True) -> Dataset:
    """An MR image of the tiles, without a position."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = MRImageStorage
    ds.SOPInstanceUID = UID("1.2.826.0.1.3680043.8.498.77")
    ds.SeriesInstanceUID = UID("1.2.826.0.1.3680043.8.498.7")
    ds.ImageType, ds.Manufacturer, ds.Modality = list(image_type), manufacturer, "MR"
    pixels = volume.picture(square)
    ds.Rows, ds.Columns = pixels.shape
    ds.PixelSpacing = list(volume.spacing[1:])
    ds.ImageOrientationPatient = list(volume.orientation)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def mosaic(volume: Volume, csa: Csa | None = None, n: int | None = None) -> Dataset:
    """A Siemens mosaic; `csa` replaces tags of the CSA header, `n` the number of tiles in (0019,100A)."""
    ds = picture(volume, ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], "SIEMENS")
    h, w = volume.shape
    r, c = np.array(volume.orientation[:3]), np.array(volume.orientation[3:])
    corner = (
        volume.place(0, 0, 0) - r * (ds.Columns - w) / 2 * volume.spacing[2] - c * (ds.Rows - h) / 2 * volume.spacing[1]
    )
    ds.ImagePositionPatient = [float(f"{x:.10g}") for x in corner]
    ds.SpacingBetweenSlices = volume.spacing[0]
    if n is not None:
        ds.private_block(0x19, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", n)
    tags = {"NumberOfImagesInMosaic": [str(volume.n)], "SliceNormalVector": [f"{x:.8f}" for x in volume.normal]}
    both = {**tags, **(csa or {})}
    ds.private_block(0x29, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", csa2(both))
    return ds


def grid(volume: Volume, seconds: Sequence[float] = ()) -> Dataset:
    """A grid of United Imaging, with the time of each tile if `seconds` are given."""
    ds = picture(volume, ["ORIGINAL", "PRIMARY", "M", "VFRAME"], "UIH", square=False)
    items = []
    for t in range(volume.n):
        item = Dataset()
        item.ImagePositionPatient = [float(f"{x:.10g}") for x in volume.place(t, 0, 0)]
        if seconds:
            item.AcquisitionTime = f"1015{seconds[t]:09.6f}"
        items.append(item)
    block = ds.private_block(0x65, "Image Private Header", create=True)
    block.add_new(0x50, "DS", volume.n)
    block.add_new(0x51, "SQ", items)
    return ds


def scanned(folder: Path, *images: Dataset) -> Scan:
    """Write images to a folder and scan them."""
    for k, ds in enumerate(images):
        ds.save_as(folder / f"{k}.dcm", enforce_file_format=True)
    return scan(find(str(folder)))


def places(columns: TileColumns, spacing: Sequence[float]) -> NDArray[np.float64]:
    """Where each voxel of the tiles lies, shape (n, rows, cols, 3); spacing between rows and columns."""
    h, w = columns.shape
    i, j = np.mgrid[:h, :w][..., None]
    r, c = columns.orientation[:3], columns.orientation[3:]
    return np.asarray(columns.position[:, None, None] + j * spacing[1] * r + i * spacing[0] * c)


def tiles(columns: TileColumns, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Cut a picture into its tiles, shape (n, rows, cols)."""
    h, w = columns.shape
    return np.stack([pixels[i : i + h, j : j + w] for i, j in columns.offset.tolist()])
