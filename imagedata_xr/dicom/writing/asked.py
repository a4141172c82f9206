"""What ``format_options`` may ask of the DICOM writer, checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import FormatError
from ...stores.sinks import special_sink
from .charset_out import check_charset
from .compress import SYNTAXES, syntax_of
from .names import DEFAULT_NAMES, LAYOUTS, Names

CLASSES = ("MR", "CT", "PT", "PET", "SC")

KINDS = ("segmentation", "parametric_map")
SEGMENTATION_TYPES = ("binary", "fractional", "label_map")
FRACTIONAL_TYPES = ("PROBABILITY", "OCCUPANCY")

_OF_SEGMENTATIONS = {
    "segments": "a list of mappings that describe the segments, such as [{'label': 'Liver', 'type': 'Liver'}]",
    "segmentation_type": f"one of {', '.join(SEGMENTATION_TYPES)}",
    "fractional_type": f"one of {', '.join(FRACTIONAL_TYPES)}",
}
_OF_MAPS = {
    "label": "a name of at most 16 characters",
    "recognizable": "True or False: whether it shows features by which the patient may be recognized, such as a face",
    "quantity": "its code, such as ('113041', 'DCM', 'Apparent Diffusion Coefficient')",
}
_MEANINGS = {
    "sop_class": f"the class of derived images: {', '.join(CLASSES)}",
    "layout": f"one of {', '.join(LAYOUTS)}",
    "names": "a pattern of file names such as 'im_%04d.dcm' or 'v%(volume)03d/%(slice)03d.dcm'",
    "dicomdir": "True to write a DICOMDIR beside the files",
    "multiframe": "True to write one Legacy Converted Enhanced MR, CT or PET instance in place of single images",
    "keep_private": "True to keep private elements in derived images",
    "character_set": "a Specific Character Set of derived images, such as 'ISO_IR 100'",
    "transfer_syntax": f"one of {', '.join(SYNTAXES)}, or the UID of one",
    **{name: f"of a segmentation: {text}" for name, text in _OF_SEGMENTATIONS.items()},
    **{name: f"of a parametric map: {text}" for name, text in _OF_MAPS.items()},
}


@dataclass(frozen=True)
class Asked:
    """Options of the DICOM writer.

    Attributes
    ----------
    sop_class : str
        ``MR``, ``CT``, ``PT`` or ``SC``; empty for what suits the source.
    names : Names
        Names of the files.
    dicomdir : bool
    multiframe : bool
        One Legacy Converted Enhanced instance in place of single images.
    keep_private : bool
        Keep the private elements of the source in derived images.
    character_set : str
        Of derived images.
    transfer_syntax : str
        UID; empty for native pixels, and for unchanged ones as they are stored.
    segments : optional
        Descriptions of segments; see `segment_items`.
    segmentation_type, fractional_type : str
        Of a segmentation; empty for what suits its values.
    label : str
    recognizable : bool, optional
        Whether a parametric map shows features by which the patient may be recognized.
    quantity : optional
        Name and code of what a parametric map shows.
    """

    sop_class: str = ""
    names: Names = DEFAULT_NAMES
    dicomdir: bool = False
    multiframe: bool = False
    keep_private: bool = False
    character_set: str = "ISO_IR 192"
    transfer_syntax: str = ""
    segments: Any = None
    segmentation_type: str = ""
    fractional_type: str = ""
    label: str = ""
    recognizable: bool | None = None
    quantity: Any = None


def check_kind(kind: str | None, options: Mapping[str, Any]) -> None:
    """Refuse a kind that there is not, and options that another kind has.

    Raises
    ------
    FormatError
        With the kinds there are.
    """
    if kind is not None and kind not in KINDS:
        raise FormatError(f"kind={kind!r}: {' or '.join(map(repr, KINDS))}, or None for images")
    images = ("sop_class", "layout", "keep_private", "transfer_syntax", "multiframe")
    for own, known in ((KINDS[0], _OF_SEGMENTATIONS), (KINDS[1], _OF_MAPS)):
        if kind != own and (odd := sorted(name for name in known if options.get(name) is not None)):
            raise FormatError(f"format_options {', '.join(odd)} are of a {own.replace('_', ' ')}: kind={own!r}")
    if kind is not None and (odd := sorted(name for name in images if options.get(name) not in (None, False))):
        raise FormatError(f"format_options {', '.join(odd)} are not for kind={kind!r}, which is one instance")


def asked_of(options: Mapping[str, Any], target: str) -> tuple[Asked, str]:
    """Options as they were given, and the folder that is written into.

    Parameters
    ----------
    options : mapping
        ``format_options`` of `imd.write`.
    target : str
        Its last part may be a pattern of names.

    Raises
    ------
    FormatError
        For an option that is not known or has no such value.
    """
    if strange := set(options) - set(_MEANINGS):
        known = "; ".join(f"{name}: {meaning}" for name, meaning in _MEANINGS.items())
        raise FormatError(f"format_options {', '.join(sorted(map(repr, strange)))} are none of DICOM's; {known}")
    given = {name: value for name, value in options.items() if value is not None}
    for name in ("dicomdir", "keep_private", "multiframe", "recognizable"):
        if not isinstance(given.get(name, False), bool):
            raise _refused(name, given[name])
    if given.get("sop_class", "MR") not in CLASSES:
        raise _refused("sop_class", given["sop_class"])
    for name, among in (("segmentation_type", SEGMENTATION_TYPES), ("fractional_type", FRACTIONAL_TYPES)):
        if given.get(name, among[0]) not in among:
            raise _refused(name, given[name])
    folder, pattern = _split(target)
    if pattern and {"names", "layout"} & set(given):
        raise FormatError(f"the target has the pattern {pattern!r}: names and layout can't be given with it")
    names = Names.asked(given.get("layout"), given.get("names") or pattern, bool(given.get("dicomdir")))
    asked = Asked(
        sop_class=str(given.get("sop_class", "")),
        names=names,
        dicomdir=bool(given.get("dicomdir", False)),
        multiframe=bool(given.get("multiframe", False)),
        keep_private=bool(given.get("keep_private", False)),
        character_set=check_charset(given.get("character_set", "ISO_IR 192")),
        transfer_syntax=syntax_of(given["transfer_syntax"]) if "transfer_syntax" in given else "",
        segments=given.get("segments"),
        segmentation_type=given.get("segmentation_type", ""),
        fractional_type=given.get("fractional_type", ""),
        label=str(given.get("label", "")),
        recognizable=given.get("recognizable"),
        quantity=given.get("quantity"),
    )
    return asked, folder


def _refused(name: str, value: Any) -> FormatError:
    return FormatError(f"format_options {name}={value!r}: {_MEANINGS[name]}")


def _split(target: str) -> tuple[str, str]:
    """Folder and pattern of a target such as ``out/im_%05d.dcm``."""
    head, slash, last = target.rpartition("/")
    if special_sink(target) is None and "%" in last and Names.is_pattern(last):
        return (head or ("/" if slash else ".")), last
    return target, ""
