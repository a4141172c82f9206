"""What is asked for: options of the profile, the secret that pseudonyms are made with, and what becomes of pixels."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.tag import BaseTag

from ...errors import LabelError
from .table import ACTIONS
from .table_options import KEPT, NO_DATES

CODES = {
    "basic": ("113100", "Basic Application Confidentiality Profile"),
    "clean_pixels": ("113101", "Clean Pixel Data Option"),
    "clean_graphics": ("113103", "Clean Graphics Option"),
    "clean_structured": ("113104", "Clean Structured Content Option"),
    "clean_descriptors": ("113105", "Clean Descriptors Option"),
    "full_dates": ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    "modified_dates": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "retain_patient": ("113108", "Retain Patient Characteristics Option"),
    "retain_device": ("113109", "Retain Device Identity Option"),
    "retain_uids": ("113110", "Retain UIDs Option"),
    "retain_safe_private": ("113111", "Retain Safe Private Option"),
    "retain_institution": ("113112", "Retain Institution Identity Option"),
}
"""Code of De-identification Method Code Sequence (PS3.16 CID 7050) of each profile and option."""

OPTIONS = tuple(name for name in CODES if name not in ("basic", "clean_pixels"))
DEFAULT_OPTIONS = ("modified_dates", "retain_safe_private")
DATES = frozenset(("DA", "DT", "TM"))

DEMANDED = frozenset(("PresentationCreationDate", "PresentationCreationTime"))
"""Moments that the table removes, and that the only class which has them demands (PS3.3 C.11.10)."""

Region = tuple[slice, slice]


@dataclass(frozen=True)
class Policy:
    """A de-identification.

    Attributes
    ----------
    options : frozenset of str
        Of `OPTIONS`.
    secret : bytes
        Key of all pseudonyms: what is written with one key belongs together.
    patients : str or mapping, optional
        New Patient ID for all, or by the old one.
    pixels : str or None
        ``"keep"``, ``"blank"``, or None: images that may show identifiers are refused.
    regions : tuple of (slice, slice)
        Rows and columns that are blanked.
    """

    options: frozenset[str]
    secret: bytes
    patients: str | Mapping[str, str] | None = None
    pixels: str | None = None
    regions: tuple[Region, ...] = ()

    @property
    def name(self) -> str:
        """Name of the key and the policy that tells nothing of either; images of one name belong together."""
        parts = "\x1f".join((*sorted(self.options), str(self.pixels), str(self.regions), repr(self.patients)))
        return hashlib.blake2b(parts.encode(), key=self.secret, digest_size=8).hexdigest()

    @property
    def codes(self) -> list[tuple[str, str]]:
        """Code and meaning of the profile and of each option that is applied."""
        applied = ["basic", *(n for n in CODES if n in self.options)]
        return [CODES[n] for n in applied + (["clean_pixels"] if self.pixels == "blank" else [])]

    def action(self, tag: BaseTag, vr: str) -> str:
        """Action on a public element by PS3.15 Table E.1-1: X, Z, D, U, K, or C for what is kept when cleaned.

        Of combined actions the last is chosen, which suits every kind of instance (E.3.1); Referenced Image Sequence
        and the like (``X/Z/U*``) are kept with new UIDs.
        """
        word = keyword_for_tag(tag) or f"{int(tag):08X}"
        action = ACTIONS.get(word)
        if vr in DATES and word not in NO_DATES and (action is not None or vr != "TM"):
            # moments that the table does not name, such as that of the injection, are treated like those that it does
            moment = self._moment("D" if word in DEMANDED else action or "Z")
            return moment if moment in ("K", "C") else self._kept(word) or moment
        if action is None:
            # what is said in words stands in items of structured content, of which the table treats the whole
            return ("C" if "clean_descriptors" in self.options else "X") if word == "TextValue" else "K"
        return self._kept(word) or ("C" if action == "X/Z/U*" else action)

    def _kept(self, word: str) -> str:
        """Return what an option of this policy keeps: K before C; empty where none does."""
        found = {KEPT[option][word] for option in self.options if word in KEPT.get(option, ())}
        return "K" if "K" in found else "C" if found else ""

    def _moment(self, action: str) -> str:
        if "full_dates" in self.options:
            return "K"
        return "C" if "modified_dates" in self.options else action


def policy_of(
    profile: str = "basic",
    options: Iterable[str] | None = None,
    seed: str | int | None = None,
    patient: str | Mapping[str, str] | None = None,
    pixels: str | None = None,
    regions: Sequence[Any] = (),
) -> Policy:
    """Check what is asked for.

    Raises
    ------
    LabelError
        For an unknown profile or option, options that exclude each other, or regions that are none.
    """
    if profile != "basic":
        raise LabelError(f"profile={profile!r}: there is 'basic', with the options {', '.join(OPTIONS)}")
    asked = DEFAULT_OPTIONS if options is None else (options,) if isinstance(options, str) else tuple(options)
    if unknown := [o for o in asked if o not in OPTIONS]:
        raise LabelError(f"unknown options {unknown}: there are {', '.join(OPTIONS)}")
    if {"full_dates", "modified_dates"} <= set(asked):
        raise LabelError("the options full_dates and modified_dates exclude each other")
    if pixels not in (None, "keep", "blank"):
        raise LabelError(f"pixels={pixels!r}: 'keep', 'blank' with regions, or None")
    if (pixels == "blank") != bool(len(regions)):
        raise LabelError("pixels='blank' and regions=[(first row, end row, first column, end column), ...] go together")
    key = secrets.token_bytes(32) if seed is None else hashlib.blake2b(str(seed).encode(), digest_size=32).digest()
    return Policy(frozenset(asked), key, patient, pixels, tuple(_region(r) for r in regions))


def _region(region: Any) -> Region:
    numbers = [int(n) for n in region]
    if len(numbers) != 4 or not (0 <= numbers[0] < numbers[1] and 0 <= numbers[2] < numbers[3]):
        raise LabelError(f"region {region!r}: four whole numbers, first and end row, first and end column (0-based)")
    return slice(numbers[0], numbers[1]), slice(numbers[2], numbers[3])
