"""Digests of who the patient is, which study and which image: numbers that xarray compares and drops when they differ.

A digest has 52 bits, so that it is exact in float64 and an averaged or interpolated one is (almost) never a valid one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATIENT_KEYS = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate")
"""The elements by which a patient is known."""


def digest(*parts: str) -> int:
    """52-bit number of some texts; never 0."""
    data = "\x1f".join(parts).encode("utf-8")
    return (int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") >> 12) or 1


def clean(value: Any) -> str:
    """Text of an element that identifies, the same for all ways to write it.

    "A^B^^^" and "A^B" are one name (PS3.5 6.2.1.1: trailing empty components need no delimiter).
    """
    return str(value if value is not None else "").strip().rstrip("^= ")


def patient_digest(attrs: Mapping[str, Any]) -> int:
    """Digest of the patient that elements describe.

    Parameters
    ----------
    attrs : mapping
        Elements by DICOM keyword.

    Returns
    -------
    int
        Of ID, issuer, name and birth date. Where both ID and name are empty the study stands in for them, since two
        images without a name are not thereby of one patient.
    """
    parts = [clean(attrs.get(k)) for k in PATIENT_KEYS]
    if not parts[0] and not parts[2]:
        return digest("unidentified", *parts, clean(attrs.get("StudyInstanceUID")))
    return digest("patient", *parts)


def study_digest(attrs: Mapping[str, Any]) -> int:
    """Digest of the Study Instance UID; of an empty one, where there is none."""
    return digest("study", clean(attrs.get("StudyInstanceUID")))


def instance_digest(sop_instance_uid: str, frame: int = 1) -> int:
    """Digest of one image: its SOP Instance UID and frame number (from 1)."""
    return digest("instance", sop_instance_uid.strip(" \x00"), str(frame))


def instance_digests(sop_instance_uids: Sequence[str], frames: Sequence[int]) -> NDArray[np.int64]:
    """Digests of many images, each that of `instance_digest`."""
    images = zip([uid.strip(" \x00") for uid in sop_instance_uids], frames, strict=True)
    parts = [hashlib.blake2b(f"instance\x1f{u}\x1f{n}".encode(), digest_size=8).digest() for u, n in images]
    out = (np.frombuffer(b"".join(parts), dtype=">u8") >> np.uint64(12)).astype(np.int64)
    out[out == 0] = 1
    return out


def series_digest(patient: int, study_uid: str, series_uid: str, number: str) -> int:
    """Digest of a series; exports exist in which several patients, studies or numbers share a UID."""
    return digest("series", str(patient), clean(study_uid), clean(series_uid), number.strip())
