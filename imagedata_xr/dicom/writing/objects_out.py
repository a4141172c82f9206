"""What segmentations and parametric maps share: whose they are, where they lie, what they were made from.

highdicom makes their frames and functional groups. It gets one header that says patient, study and place by the same
rules as all derived images; what they were made from is written here, frame by frame, also where the source is a
frame of a multi-frame instance, or where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian

from ...errors import FormatError, GeometryError
from ...formats.seam import WriteOptions, Written
from ...stores.implementation import VERSION_NAME
from ..framing.segments import CLASSES
from ..headers.header import Headers
from .asked import Asked
from .charset_out import UTF8, set_charset
from .derived import Series, cleaned
from .dicomdir_out import NAME as DICOMDIR
from .dicomdir_out import directory, entry_of
from .fields import code_item
from .files_out import encode, open_target
from .own_headers import OwnHeaders
from .sop_classes import SC, put_laterality
from .uids import new_uid

_KEPT_GROUPS = (0x0008, 0x0018, 0x0020, 0x0040, 0x0070)
"""Groups in which assigned elements are taken over; the others say how the object is built, or whose it is."""
_OF_OBJECTS = ("Modality", "ImageType", "SeriesNumber")  # of images: the object has its own, or one that was asked for
_SERIAL = "0"


def need_highdicom(what: str) -> Any:
    """Return the package highdicom.

    Raises
    ------
    FormatError
        It is not installed.
    """
    try:
        import highdicom
    except ImportError:
        raise FormatError(f"{what} is written by the package highdicom: pip install 'imagedata-xr[seg]'") from None
    return highdicom


@dataclass
class Origin:
    """What an image was made from.

    Attributes
    ----------
    headers : Headers or None
    instances : ndarray, shape (n, slices)
        Digest of each plane's own image; 0 for none.
    attrs : pydicom.Dataset
        Elements of the attrs.
    series : Series
        Identity, place and names of what is written.
    """

    headers: Headers | None
    instances: NDArray[np.int64]
    attrs: pydicom.Dataset
    series: Series
    own: OwnHeaders | None = field(init=False)

    def __post_init__(self) -> None:
        self.own = None if self.headers is None else OwnHeaders(self.headers)

    def header(self, k: int) -> pydicom.Dataset | None:
        """Own header of slice `k`, by the first of its planes that has one that may be used."""
        for instance in self.instances[:, k].tolist():
            if instance and self.own is not None and self.series.identity.trusts(found := self.own.of(instance)):
                return found
        return None

    def first(self) -> pydicom.Dataset | None:
        """Own header of the first slice that has one."""
        slices = np.flatnonzero((self.instances != 0).any(axis=0)).tolist()
        return next((h for k in slices if (h := self.header(k)) is not None), None)


def source_header(origin: Origin) -> pydicom.Dataset:
    """Header that says whose the object is and where its first slice lies, for highdicom to read."""
    series, own = origin.series, origin.first()
    base = origin.attrs if own is None else own
    ds = cleaned(base, own is not None)
    for element in series.assigned:
        ds[element.tag] = element
    series.identity.apply(ds, own)
    series.place.put(ds, 0, series.frame_of_reference)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = SC, new_uid(), new_uid()
    ds.Modality = str(base.get("Modality") or "OT")
    if series.place.positions is None and "FrameOfReferenceUID" in ds:
        del ds.FrameOfReferenceUID
    set_charset(ds, UTF8)
    return ds


def placing(origin: Origin, source: pydicom.Dataset) -> dict[str, Any]:
    """Position, orientation and spacing of the slices, as arguments of highdicom; none without a place.

    Raises
    ------
    GeometryError
        Several slices have no place in the patient.
    """
    import highdicom as hd

    place = origin.series.place
    if place.positions is None or place.orientation is None:
        if origin.instances.shape[1] > 1:
            raise GeometryError(
                f"the image has {origin.instances.shape[1]} slices without a place in the patient, and segmentations "
                "and parametric maps say where each slice lies: imagedata_xr.from_array(..., spacing=...), "
                "assign_grid(other) or geometry= says it"
            )
        return {}
    step = place.slice_step
    if step is None and len(place.positions) > 1:
        step = float(np.linalg.norm(np.diff(place.positions, axis=0), axis=1).min())
    thickness = float(source.get("SliceThickness") or step or 0)
    if not thickness > 0:
        raise GeometryError(
            "the thickness of the single slice is not known, and segmentations and parametric maps have to say it: "
            "assign_dicom(SliceThickness=mm) does"
        )
    return {
        "pixel_measures": hd.PixelMeasuresSequence(place.spacing.tolist(), thickness, place.slice_step),
        "plane_orientation": hd.PlaneOrientationSequence("PATIENT", place.orientation.tolist()),
        "plane_positions": [hd.PlanePositionSequence("PATIENT", p.tolist()) for p in place.positions],
    }


def naming(origin: Origin) -> dict[str, Any]:
    """Series, instance and equipment, as arguments of highdicom."""
    series = origin.series
    number = series.number
    if number is None:
        own = origin.first()
        number = int(str((origin.attrs if own is None else own).get("SeriesNumber") or 0)) + 1000
    return {
        "series_instance_uid": series.uid, "series_number": max(number, 1), "sop_instance_uid": new_uid(),
        "instance_number": 1, "manufacturer": "imagedata_xr", "manufacturer_model_name": "imagedata_xr",
        "software_versions": VERSION_NAME, "device_serial_number": _SERIAL,
        "transfer_syntax_uid": ExplicitVRLittleEndian,
    }  # fmt: skip


# --- what it was made from --------------------------------------------------------------------------------------------


def refer(ds: pydicom.Dataset, origin: Origin, derivation: tuple[str, str, str]) -> None:
    """Say which images each frame was made from (PS3.3 C.7.6.16.2.6, C.12.2), in place of what highdicom wrote.

    Parameters
    ----------
    ds : pydicom.Dataset
        The object; changed.
    origin : Origin
    derivation : tuple of str
        Code that says how.
    """
    for keyword in ("ReferencedSeriesSequence", "SourceImageSequence"):
        if keyword in ds:
            del ds[keyword]
    per_slice, listed = _references(origin)
    if listed:
        ds.ReferencedSeriesSequence = [_series_item(uid, items) for uid, items in listed.items()]
        ds.SourceImageSequence = [_short(item) for items in listed.values() for item in items]
    for frame in ds.PerFrameFunctionalGroupsSequence:
        if "DerivationImageSequence" in frame:
            del frame.DerivationImageSequence
        sources = per_slice[_slice_of(frame, origin)]
        if sources:
            item = pydicom.Dataset()
            item.SourceImageSequence = [_source(s) for s in sources]
            item.DerivationCodeSequence = [code_item(*derivation)]
            frame.DerivationImageSequence = [item]


def _slice_of(frame: pydicom.Dataset, origin: Origin) -> int:
    positions = origin.series.place.positions
    if positions is None:
        return 0
    at = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=np.float64)
    return int(np.linalg.norm(positions - at, axis=1).argmin())


def _references(origin: Origin) -> tuple[list[list[pydicom.Dataset]], dict[str, list[pydicom.Dataset]]]:
    """References of each slice, and each instance once, by its series."""
    per_slice: list[list[pydicom.Dataset]] = []
    listed: dict[str, list[pydicom.Dataset]] = {}
    known: set[str] = set()
    for k in range(origin.instances.shape[1]):
        here: list[pydicom.Dataset] = []
        met: set[tuple[str, int]] = set()
        for instance in origin.instances[:, k].tolist():
            if not instance or origin.own is None or origin.headers is None:
                continue
            header = origin.own.of(instance)
            if not origin.series.identity.holds(header):
                continue
            for item, series in _sources_of(header, origin.headers, instance):
                uid = str(item.ReferencedSOPInstanceUID)
                key = uid, int(item.get("ReferencedFrameNumber") or 0)
                if key in met:
                    continue
                met.add(key)
                here.append(item)
                if uid not in known and series:
                    known.add(uid)
                    listed.setdefault(series, []).append(item)
        per_slice.append(here)
    return per_slice, listed


def _sources_of(header: pydicom.Dataset, headers: Headers, instance: int) -> list[tuple[pydicom.Dataset, str]]:
    """References to an image, with its series; of a segmentation, to the images that its frame was made from."""
    if str(header.get("SOPClassUID")) in CLASSES:
        return _inherited(header, headers, instance)
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    if (frame := header.get("ReferencedFrameNumber")) is not None:
        item.ReferencedFrameNumber = frame
    return [(item, str(header.SeriesInstanceUID))]


def _inherited(header: pydicom.Dataset, headers: Headers, instance: int) -> list[tuple[pydicom.Dataset, str]]:
    series = {
        str(one.get("ReferencedSOPInstanceUID")): str(group.get("SeriesInstanceUID") or "")
        for group in header.get("ReferencedSeriesSequence") or ()
        for one in group.get("ReferencedInstanceSequence") or ()
    }
    whole = headers.dataset(instance)
    frames = whole.get("PerFrameFunctionalGroupsSequence") or ()
    number = int(header.get("ReferencedFrameNumber") or 1)
    shared = next(iter(whole.get("SharedFunctionalGroupsSequence") or ()), pydicom.Dataset())
    groups = [frames[number - 1]] if number <= len(frames) else []
    found = []
    for group in [*groups, shared]:
        for derivation in group.get("DerivationImageSequence") or ():
            for one in derivation.get("SourceImageSequence") or ():
                if uid := str(one.get("ReferencedSOPInstanceUID") or ""):
                    found.append((one, series.get(uid, "")))
    return found


def _short(item: pydicom.Dataset) -> pydicom.Dataset:
    out = pydicom.Dataset()
    out.ReferencedSOPClassUID, out.ReferencedSOPInstanceUID = item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID
    return out


def _source(item: pydicom.Dataset) -> pydicom.Dataset:
    out = _short(item)
    if (frame := item.get("ReferencedFrameNumber")) is not None:
        out.ReferencedFrameNumber = frame
    out.PurposeOfReferenceCodeSequence = [code_item("121322", "DCM", "Source Image for Image Processing Operation")]
    out.SpatialLocationsPreserved = "YES"
    return out


def _series_item(uid: str, items: list[pydicom.Dataset]) -> pydicom.Dataset:
    out = pydicom.Dataset()
    out.SeriesInstanceUID, out.ReferencedInstanceSequence = uid, [_short(i) for i in items]
    return out


# --- the file ---------------------------------------------------------------------------------------------------------


def finish(ds: pydicom.Dataset, origin: Origin, derivation: str) -> pydicom.Dataset:
    """Put right what highdicom leaves open, and set what the user assigned."""
    series = origin.series
    own = origin.first()
    base = origin.attrs if own is None else own
    if part := str(base.get("BodyPartExamined") or ""):
        ds.BodyPartExamined = part
        if side := str(base.get("Laterality") or ""):
            ds.Laterality = side
    if (moved := base.get("LongitudinalTemporalInformationModified")) is not None:
        ds.LongitudinalTemporalInformationModified = moved
    if series.description is not None:
        ds.SeriesDescription = series.description
    elif text := str(base.get("SeriesDescription") or ""):
        ds.SeriesDescription = text
    if series.image_type:
        ds.ImageType = list(series.image_type)
    ds.DerivationDescription = derivation
    series.put_dates(ds)
    over = (*_OF_OBJECTS, *(["SeriesDescription"] if series.description is not None else []))
    for element in series.assigned:
        if element.tag.group in _KEPT_GROUPS and element.keyword not in over:
            ds[element.tag] = element
    dimensions = new_uid("dimensions")
    for item in (*ds.get("DimensionOrganizationSequence", ()), *ds.get("DimensionIndexSequence", ())):
        item.DimensionOrganizationUID = dimensions  # in place of one that highdicom makes by chance
    if str(ds.Modality) != "SEG":  # whose side is said by its segments
        put_laterality(ds)
    set_charset(ds, series.character_set)
    return ds


def write_one(
    ds: pydicom.Dataset, target: str, options: WriteOptions, asked: Asked, keep_meta: bool = False
) -> Written:
    """Write an object of one instance, and a DICOMDIR beside it where that is asked for."""
    folder = open_target(target, options.overwrite, options.storage_options)
    try:
        data = encode(ds, keep_meta=keep_meta)
        name = asked.names.all_of(1, 1)[0][0]
        folder.add(name, data)
        if asked.dicomdir:
            folder.add(DICOMDIR, directory([entry_of(ds, name)]))
        paths = folder.finish()
    except BaseException:
        folder.abandon()
        raise
    if options.progress is not None:
        options.progress(1, 1)
    uid, series = str(ds.SOPInstanceUID), str(ds.SeriesInstanceUID)
    return Written("dicom", paths, 1, len(data), (uid,), series, getattr(folder, "report", None))
