"""Series full of identifiers, in every place where a header can hold one, and a search for them in what is written."""

from __future__ import annotations

import contextlib
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mosaics
import numpy as np
import phantoms
import pydicom
import xarray as xr
from pydicom.dataset import Dataset
from pydicom.uid import UID

WHO = phantoms.Who("Qvistgaard^Hortensia", "ZX81-4477", "19111213", "1.2.826.0.1.3680043.8.498.71", "20200102")
SECRETS = (
    "qvistgaard", "hortensia", "zx81", "19111213", "20200102", "2020-01-02", "acc9182", "marburg", "wintermute",
    "ludvigsen", "1.2.826.0.1.3680043.8.498", "1.3.12.2.1107", "sn-90210", "ae_secret",
)  # fmt: skip
"""Parts of names, numbers, dates and UIDs that must be in no output, in lower case."""


def telling(**more: Any) -> dict[str, Any]:
    """Elements that tell who the patient is."""
    item = Dataset()
    item.ReferencedSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.4")
    item.ReferencedSOPInstanceUID = UID("1.2.826.0.1.3680043.8.498.50.1")
    item.PatientComments = "Hortensia"
    inner = Dataset()
    inner.PersonName, inner.TextValue, inner.CodeMeaning = "Ludvigsen^Ove", "Qvistgaard was here", "for Hortensia"
    inner.add_new(0x00091010, "LO", "Qvistgaard")
    inner.add_new(0x00090010, "LO", "WINTERMUTE")
    item.ContributingEquipmentSequence = [inner]
    out = {
        "AccessionNumber": "ACC9182", "InstitutionName": "Marburg", "OperatorsName": "Ludvigsen^Ove",
        "PerformingPhysicianName": "Ludvigsen^Ove", "StudyDescription": "knee of Qvistgaard 2020-01-02",
        "SeriesDescription": "t1 HORTENSIA ZX81 4477", "ProtocolName": "Qvistgaard", "DeviceSerialNumber": "SN-90210",
        "ImageComments": "seen by Dr Ludvigsen", "OtherPatientIDs": ["zx81 4477"], "PatientAddress": "Marburg 12",
        "ReferencedImageSequence": [item], "SoftwareVersions": "syngo Qvistgaard", "SequenceName": "*fl2d1",
        "TransducerData": "Marburg", "BodyPartExamined": "KNEE", "IrradiationEventUID": "1.3.12.2.1107.5.2.43.1",
        "ImageType": ["ORIGINAL", "PRIMARY", "M"], "CommentsOnThePerformedProcedureStep": "Hortensia",
        "DerivationDescription": "of 1.2.826.0.1.3680043.8.498.50.1",
    }  # fmt: skip
    return out | more


def add_private(ds: Dataset) -> Dataset:
    """Add private groups that tell who the patient is, a telling file meta information, and a preamble."""
    block = ds.private_block(0x0009, "WINTERMUTE", create=True)
    block.add_new(0x01, "LO", "Qvistgaard")
    block.add_new(0x02, "UN", b"ZX81-4477 20200102")
    deep = Dataset()
    deep.PatientName = "Qvistgaard^Hortensia"
    block.add_new(0x03, "SQ", [deep])
    ds.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0F, "LO", "Hortensia")
    ds.file_meta.SourceApplicationEntityTitle = "AE_SECRET"
    ds.file_meta.PrivateInformationCreatorUID = UID("1.3.12.2.1107.5.9")
    ds.file_meta.PrivateInformation = b"Qvistgaard"
    ds.preamble = b"Qvistgaard".ljust(128, b"\0")
    ds.add_new(0xFFFCFFFC, "OB", b"Hortensia!")
    return ds


def make(folder: Path, series: phantoms.Series) -> list[Path]:
    """Write a series with all of it."""
    paths = phantoms.make(folder, series)
    for path in paths:
        add_private(pydicom.dcmread(path)).save_as(path, enforce_file_format=True)
    return paths


def mr(**changes: Any) -> phantoms.Series:
    """An MR series of this patient."""
    return phantoms.mr(**{"who": WHO, "elements": telling(), **changes})


def weighted() -> phantoms.Series:
    """A diffusion series of this patient, as the standard says it."""
    volumes = phantoms.diffusion([0, 700, 700], [(0, 0, 0), (1, 0, 0), (0, 0.6, 0.8)])
    return mr(shape=(3, 2, 6, 8), volumes=volumes)


def mosaic(folder: Path) -> Path:
    """Two volumes of a Siemens mosaic with b-value, direction and slice times in private elements alone."""
    volume = mosaics.Volume()
    for v, b in enumerate((0, 1000)):
        times = [f"{t:.8f}" for t in (0.0, 500.0, 250.0, 750.0, 1000.0, 1250.0, 1500.0, 1750.0)[: volume.n]]
        csa = {
            "B_value": [str(b)], "MosaicRefAcqTimes": times,
            "ReferencedImageSequence": ["1.3.12.2.1107.5.2.43.7"], "PatientName": ["Qvistgaard"],
            "DiffusionDirectionality": ["DIRECTIONAL" if b else "NONE"],
        }  # fmt: skip
        if b:
            csa["DiffusionGradientDirection"] = ["0.6", "0.8", "0.0"]
        ds = mosaics.mosaic(volume, csa)
        for keyword, value in telling().items():
            if keyword != "ImageType":
                setattr(ds, keyword, value)
        ds.PatientName, ds.PatientID, ds.PatientBirthDate = WHO.name, WHO.id, WHO.birth
        ds.StudyInstanceUID, ds.StudyDate, ds.StudyTime = UID(WHO.study), WHO.date, "101500"
        ds.FrameOfReferenceUID = UID("1.2.826.0.1.3680043.8.498.60")
        ds.SOPInstanceUID = f"1.2.826.0.1.3680043.8.498.77.{v}"
        ds.AcquisitionDate, ds.AcquisitionTime = WHO.date, f"1015{10 + 3 * v}"
        ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber, ds.RepetitionTime = 4, v + 1, v + 1, 3000
        ds.private_block(0x29, "SIEMENS CSA HEADER", create=True).add_new(
            0x20, "OB", mosaics.csa2({"MrPhoenixProtocol": ['tPatientName = "Qvistgaard" 1.3.12.2.1107.5.2']})
        )
        folder.mkdir(parents=True, exist_ok=True)
        add_private(ds).save_as(folder / f"{v}.dcm", enforce_file_format=True)
    return folder


# --- the search -------------------------------------------------------------------------------------------------------


def found(place: Path) -> dict[str, set[str]]:
    """Secrets in the names and the bytes of files, packed ones unpacked, with the file where they are."""
    out: dict[str, set[str]] = {}
    files = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
    assert files
    for path in files:
        for data in (str(path.relative_to(place.parent)).encode(), *_unpacked(path.read_bytes())):
            _look(data, path.name, out)
    for path in files:
        if path.suffix == ".nc":
            _look(_netcdf_texts(path), path.name, out)
    for store in place.rglob("*.zarr") if place.is_dir() else ():
        _look(_zarr_texts(store), store.name, out)
    return out


def _look(data: bytes, name: str, out: dict[str, set[str]]) -> None:
    for text in (data.decode("latin-1"), data.decode("utf-16-le", "ignore"), data.decode("utf-32-le", "ignore")):
        hits = {s for s in SECRETS if s in text.lower()}
        if hits:
            out.setdefault(name, set()).update(hits)


def _unpacked(data: bytes) -> Iterator[bytes]:
    yield data
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            yield from (packed.read(n) for n in packed.namelist())
    at = data.find(b"\x78")
    while 0 <= at < len(data) - 2:  # zlib streams, wherever they begin
        with contextlib.suppress(zlib.error):
            yield zlib.decompressobj().decompress(data[at:])
        at = data.find(b"\x78", at + 1)


def _zarr_texts(path: Path) -> bytes:
    """All texts of a zarr store, whatever its compression."""
    import zarr

    root = zarr.open_group(str(path), mode="r")
    texts = [repr(dict(root.attrs))]
    for name, node in root.members(max_depth=None):
        texts += [name, repr(dict(node.attrs))]
        if isinstance(node, zarr.Array) and node.dtype.kind not in "biufc":
            texts.append(repr(np.asarray(node[...]).tolist()))
    return "\n".join(texts).encode()


def _netcdf_texts(path: Path) -> bytes:
    """All texts of a netCDF file, whatever its compression."""
    import h5py

    texts: list[str] = []

    def visit(name: str, node: Any) -> None:
        texts.append(name)
        texts.extend(f"{k}={v}" for k, v in node.attrs.items())
        if isinstance(node, h5py.Dataset) and node.dtype.kind in "OSU":
            texts.append(repr(node[()]))

    with h5py.File(path) as file:
        texts.extend(f"{k}={v}" for k, v in file.attrs.items())
        file.visititems(visit)
    return "\n".join(texts).encode()


def opened(source: Path | str, **options: Any) -> xr.DataArray:
    """Image of a folder with one series."""
    return phantoms.opened(source, **options)
