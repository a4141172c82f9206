"""What says that an instance was de-identified, and how (PS3.3 C.7.1.1, C.12.1, PS3.15 E.2)."""

from __future__ import annotations

from pydicom.dataset import Dataset

from ..writing.fields import put
from .policy import Policy

_METHOD = "imagedata_xr, DICOM PS3.15 2026c Annex E"


def mark(ds: Dataset, policy: Policy) -> None:
    """Set Patient Identity Removed, De-identification Method and its codes, and what became of dates and pixels.

    Codes of an earlier de-identification stay.
    """
    put(ds, "PatientIdentityRemoved", "YES")
    before = ds.get("DeidentificationMethod")
    methods = [str(m) for m in ([before] if isinstance(before, str) else before or []) if str(m)]
    put(ds, "DeidentificationMethod", list(dict.fromkeys((*methods, _METHOD))))
    items = {str(i.get("CodeValue")): i for i in ds.get("DeidentificationMethodCodeSequence") or []}
    for value, meaning in policy.codes:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
        items[value] = item
    put(ds, "DeidentificationMethodCodeSequence", list(items.values()))
    modified, full = ("modified_dates" in policy.options, "full_dates" in policy.options)
    was = str(ds.get("LongitudinalTemporalInformationModified") or "")
    word = "MODIFIED" if modified or (full and was == "MODIFIED") else "UNMODIFIED" if full else "REMOVED"
    put(ds, "LongitudinalTemporalInformationModified", "REMOVED" if was == "REMOVED" else word)
    if policy.pixels == "blank":
        put(ds, "BurnedInAnnotation", "NO")
