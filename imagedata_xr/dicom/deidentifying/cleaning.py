"""A header without what identifies: each element by the action of the profile, at every depth (PS3.15 E.1, E.2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_has_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.uid import ExplicitVRLittleEndian

from ...model.identity import PATIENT_KEYS
from ..headers.whole_file import trouble
from ..scanning.vr import PIXEL_TAGS
from ..writing.fields import drop_groups, put
from .kinds import has_waveforms, of_radiotherapy
from .markers import mark
from .policy import Policy
from .private_kept import Weighting, kept_private, moved_to_public, put_private
from .pseudonyms import Pseudonyms, shifted_date, shifted_datetime
from .table import ACTIONS
from .texts import Identifiers, Texts, identifiers_in

_TEXT = frozenset(("LO", "LT", "SH", "ST", "UC", "UR", "UT", "AE"))
_NUMBERS = frozenset(("DS", "IS", "FL", "FD", "US", "SS", "UL", "SL", "UV", "SV", "AT"))
_NUMERIC_BYTES = frozenset(("OW", "OF", "OD", "OL", "OV"))
_BYTES_KEPT = frozenset(
    """
    PixelData ICCProfile ExtendedOffsetTable ExtendedOffsetTableLengths WaveformData WaveformPaddingValue
    ChannelMinimumValue ChannelMaximumValue
    """.split()  # noqa: SIM905
)
_DRAWN = frozenset(("GraphicAnnotationSequence", "GraphicLayerSequence", "GraphicGroupSequence"))
"""What is drawn on images, and may be written by hand: it goes as a whole, unless it is asked for."""
_GROUPS = frozenset(
    """
    SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence UnassignedSharedConvertedAttributesSequence
    UnassignedPerFrameConvertedAttributesSequence
    """.split()  # noqa: SIM905
)
"""Sequences whose items speak of frames, and hold private elements of the kind that a header has of a classic image."""
_CONTENT = frozenset(("AcquisitionContextSequence", "ContentSequence", "SpecimenPreparationSequence"))
_CONTENT_KEPT = frozenset(
    ("CODE", "NUM", "CONTAINER", "SCOORD", "SCOORD3D", "TCOORD", "IMAGE", "COMPOSITE", "WAVEFORM", "UIDREF", "TABLE")
)
"""Items of structured content that say no free text, name nobody, and tell no moment."""
_CLASSES = frozenset(
    """
    ContextUID MappingResourceUID CodingSchemeUID ContextGroupExtensionCreatorUID
    """.split()  # noqa: SIM905
)
"""UIDs that say what something is, not which it is; those of classes and transfer syntaxes besides."""
_MAKERS = re.compile(
    r"\W*(siemens|ge\b|general electric|philips|toshiba|canon|hitachi|fuji|uih|united imaging|shimadzu|agfa|carestream"
    r"|kodak|hologic|elscint|picker|marconi|bruker|varian|elekta|accuray|esaote|mindray|samsung|neusoft|hyperfine)",
    re.IGNORECASE,
)
"""Words of the manufacturer that stay, even where somebody is called so: they tell how the image is to be read."""
_SCHEMES = re.compile(
    r"DCM|SRT|SCT|SNM3|99SDM|UCUM|LN|LNC|FMA|NCIt|MDC|RADLEX|RADELEMENT|UMLS|I9C|I10|ICD\w*|99\w+|NDC|RXNORM"
)
"""Coding schemes (PS3.16 chapter 8), of which the same holds."""
_MOMENT = {
    "DA": re.compile(r"\d{8}|\d{4}\.\d\d\.\d\d"),
    "TM": re.compile(r"([01]\d|2[0-3])(:?[0-5]\d(:?([0-5]\d|60)(\.\d{1,9})?)?)?"),
    "DT": re.compile(r"\d{4}(\d\d(\d\d(([01]\d|2[0-3])([0-5]\d([0-5]\d|60)?)?)?(\.\d{1,9})?)?)?([-+]\d{4})?"),
    "AS": re.compile(r"\d{3}[DWMY]"),
}
"""What moments and ages look like (PS3.5 6.2, and its older forms): anything else is a text, which may say anything."""
_DUMMY = {"DA": "19000101", "DT": "19000101000000", "TM": "000000", "PN": "ANONYMIZED", "AS": "000Y", "UR": ""}


class Cleaner:
    """Cleans headers by a policy; headers of one patient share what is looked up.

    Parameters
    ----------
    policy : Policy
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.pseudonyms = Pseudonyms(policy)
        self._texts: dict[Identifiers, Texts] = {}

    def header(self, ds: Dataset, weighted: Weighting | None = None) -> Dataset:
        """Header of an instance, with its file meta information.

        Parameters
        ----------
        ds : pydicom.Dataset
            Of the caller's own; changed.
        weighted : (float, ndarray of shape (3,)), optional
            b-value and direction that its series tells, where it does not itself.
        """
        syntax = getattr(getattr(ds, "file_meta", None), "TransferSyntaxUID", None)
        implicit, little = ds.original_encoding
        ds.decode()
        moved_to_public(ds, weighted)
        out = self.elements(ds, "retain_safe_private" in self.policy.options)
        out.file_meta = FileMetaDataset()
        if syntax is not None:
            out.file_meta.TransferSyntaxUID = syntax
        elif implicit is None:
            out.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        if implicit is not None and little is not None:
            out.set_original_encoding(implicit, little, ds.original_character_set)
        return out

    def elements(self, ds: Dataset, private: bool = False) -> Dataset:
        """Elements of a data set, cleaned and marked as such; private ones only where the safe ones are to stay."""
        who = {k: ds.get(k) for k in (*PATIENT_KEYS, "StudyInstanceUID")}
        one = _One(self, ds, who, private)
        out = one.cleaned(ds, private)
        out.PatientID = out.PatientName = self.pseudonyms.patient(who)
        if "PatientBirthDate" not in out:
            put(out, "PatientBirthDate", "")
        mark(out, self.policy)
        return out

    def texts_of(self, ds: Dataset) -> Texts:
        """Cleaner of the texts of a header."""
        identifiers = identifiers_in(ds, self.policy)
        if identifiers not in self._texts:
            if len(self._texts) > _REMEMBERED:
                self._texts.clear()
            self._texts[identifiers] = Texts(identifiers, self.pseudonyms)
        return self._texts[identifiers]


_REMEMBERED = 64


class _One:
    """Cleaning of one header."""

    def __init__(self, cleaner: Cleaner, ds: Dataset, who: dict[str, Any], private: bool) -> None:
        self.private = private
        self.policy, self.pseudonyms = cleaner.policy, cleaner.pseudonyms
        self.texts = cleaner.texts_of(ds)
        self.days = cleaner.pseudonyms.days(who)
        own = (str(ds.get(k) or "") for k in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
        self.roots = tuple(uid for uid in own if uid.count(".") > 3)
        # classes that demand moments of the series or of frames (PS3.3 C.8.9.1, C.8.13.1)
        sop_class = str(ds.get("SOPClassUID") or "")
        self.waves, self.planned = has_waveforms(sop_class), of_radiotherapy(sop_class)
        self.timed = "SharedFunctionalGroupsSequence" in ds or str(ds.get("Modality") or "") == "PT"

    def cleaned(self, ds: Dataset, private: bool = False) -> Dataset:
        """Cleaned copy of a data set, with its safe private elements where that is asked for."""
        out = Dataset()
        for tag in sorted(ds.keys()):
            known = dictionary_has_tag(tag) or f"{int(tag):08X}" in ACTIONS
            if tag.is_private or tag.element == 0 or not known:
                continue
            try:
                new = self._element(ds[tag])
            except trouble():
                continue  # what can't be decoded can't be looked at
            if new is not None:
                out[tag] = new
        drop_groups(out, 0x5000, 0x50FF)
        drop_groups(out, 0x6000, 0x60FF)
        if private:
            put_private(out, kept_private(ds, self.texts, lambda item: self.cleaned(item, private=True)))
        return out

    def _element(self, element: DataElement) -> DataElement | None:
        vr, action = element.VR, self.policy.action(element.tag, element.VR)
        if element.tag in PIXEL_TAGS:
            return element
        if action == "X" or self._gone(element.keyword):
            return None
        if action == "Z":
            return _new(element, None if vr != "SQ" else [])
        if action == "U" or (vr == "UI" and element.keyword not in ACTIONS and not self._tells_a_class(element)):
            # the few that the table does not name among those that retain_uids keeps get new ones even so
            new = self.pseudonyms.new_uid if action == "U" else self.pseudonyms.uid
            return _new(element, _each(element.value, lambda v: new(str(v))))
        if action == "C" or action == "K":
            return self._kept(element, action == "C")
        return self._dummy(element, action)

    def _gone(self, keyword: str) -> bool:
        """Whether an element goes that the table leaves to options, or does not know."""
        if keyword in _DRAWN:
            return "clean_graphics" not in self.policy.options
        return keyword == "WaveformSequence" and not self.waves

    def _items(self, element: DataElement) -> list[Dataset]:
        of_content = element.keyword in _CONTENT
        private = self.private and element.keyword in _GROUPS
        return [self.cleaned(item, private) for item in element.value or [] if not of_content or _coded(item)]

    def _kept(self, element: DataElement, clean: bool) -> DataElement | None:
        vr, value = element.VR, element.value
        if vr == "SQ":
            return _new(element, self._items(element))
        if vr in _MOMENT:
            move = _MOVED.get(vr) if clean else None
            return _new(element, _each(value, lambda v: self._moment(str(v), vr, move)))
        if vr == "PN":
            return _new(element, None)
        if vr in _TEXT:
            return _new(element, _each(value, lambda v: self._text(str(v), element.keyword, clean)))
        if vr == "CS" and element.keyword != "SpecificCharacterSet":
            return _new(element, _each(value, lambda v: self._code(str(v), element.keyword)))
        if vr == "IS" and any(self.texts.is_number(str(v)) for v in _several(value)):
            return None
        if vr in ("OB", "UN") and element.keyword not in _BYTES_KEPT:
            return None
        return element

    def _tells_a_class(self, element: DataElement) -> bool:
        """Whether a UID says what something is; those below the UIDs of this header say which it is."""
        keyword = element.keyword
        if keyword not in _CLASSES and "SOPClass" not in keyword and "TransferSyntax" not in keyword:
            return False
        return not any(str(v).startswith(self.roots) for v in _several(element.value))

    def _moment(self, text: str, vr: str, move: Callable[[str, int], str] | None) -> str:
        text = text.strip(" \0")
        if not _MOMENT[vr].fullmatch(text):
            return ""
        return text if move is None else move(text, self.days)

    def _text(self, text: str, keyword: str, typed: bool) -> str:
        """Text without identifiers; words of the standard that may be somebody's name stay."""
        words = {"Manufacturer": _MAKERS.match, "CodingSchemeDesignator": _SCHEMES.fullmatch}.get(keyword)
        return self.texts.without_numbers(text) if words and words(text) else self.texts.clean(text, typed)

    def _code(self, text: str, keyword: str) -> str:
        """Word of the standard, in which only what can't be one is looked for: numbers, days, UIDs."""
        out = self.texts.without_numbers(text)
        if keyword == "BodyPartExamined":  # which many devices take from what was typed
            out = self.texts.without_names(out)
        return out if out == text else re.sub(r"[^A-Z0-9 ]+", " ", out).strip() or "ANONYMIZED"

    def _dummy(self, element: DataElement, action: str) -> DataElement | None:
        """Value in place of one that may be needed: moments only where the class may demand them."""
        vr = element.VR
        if vr == "SQ":
            return _new(element, self._items(element) if action == "D" else [])
        if vr in ("OB", "UN"):
            return None
        if element.value in (None, "") or not len(str(element.value)):
            return _new(element, None)
        if vr in ("DA", "DT", "TM") and action != "D" and not self.timed:
            return None if action == "X/D" and not self.planned else _new(element, None)
        if vr in _NUMBERS:
            return _new(element, "0" if vr in ("DS", "IS") else 0)
        return _new(element, _DUMMY.get(vr, "ANONYMIZED"))


def _coded(item: Dataset) -> bool:
    """Whether an item of structured content says a code, a number or a reference, which are no free text.

    Items that point to others by their place in the tree go as well: what they point to may have gone.
    """
    kind = str(item.get("ValueType") or "NUM")
    return kind in _CONTENT_KEPT and "ReferencedContentItemIdentifier" not in item


def _new(element: DataElement, value: Any) -> DataElement:
    # values of the source that break a rule of DICOM are handed on, not refused
    return DataElement(element.tag, element.VR, value, validation_mode=config.IGNORE)


_MOVED: dict[str, Callable[[str, int], str]] = {"DA": shifted_date, "DT": shifted_datetime}


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, MultiValue)) else [] if value is None else [value]


def _each(value: Any, change: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, (list, tuple, MultiValue)):
        return [change(v) for v in value]
    return change(value)
