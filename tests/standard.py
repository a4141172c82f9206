"""What the standard demands of each class, for dicom-validator without its download: from the tables of highdicom.

They are those of PS3.3: which modules a class has, and which elements these demand (types 1 and 2) or allow. They have
neither the conditions of 1C and 2C nor the values that are allowed, so that these elements may be there or not. What is
in functional groups is not judged: dciodvfy does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydicom.datadict import DicomDictionary, tag_for_keyword  # type: ignore[attr-defined]

_GROUPS = {"SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"}
OPEN = {"type": "U"}
"""A condition that nobody checks: the user knows."""


def standard() -> Any:
    """Tables for `dicom_validator.validator.dicom_file_validator.DicomFileValidator`."""
    import highdicom
    from dicom_validator.validator.dicom_info import DicomInfo

    folder = Path(highdicom.__file__).parent / "_standard"
    classes, iods, modules = (
        json.loads((folder / f"{name}.json").read_text())
        for name in ("sop_class_iod_map", "iod_module_map", "module_attribute_map")
    )
    made = {
        uid: {"title": iod, "group_macros": {}, "modules": {m["key"]: _used(m) for m in iods[iod]}}
        for uid, iod in classes.items()
        if iod in iods
    }
    elements = {key: _elements(listed) for key, listed in modules.items()}
    for iod in made.values():
        for module in iod["modules"]:
            elements.setdefault(module, {})
    return DicomInfo(_dictionary(), made, elements)


def _used(module: dict[str, str]) -> dict[str, Any]:
    use = module["usage"][0]
    return {"ref": module["key"], "use": use, **({"cond": OPEN} if use == "C" else {})}


def _elements(listed: list[dict[str, Any]]) -> dict[str, Any]:
    """Elements of a module, each below the sequences that it lies in."""
    out: dict[str, Any] = {}
    for one in listed:
        if _GROUPS & set(one["path"]):
            continue
        within = out
        for keyword in one["path"]:
            within = within.setdefault(_name(keyword), {"name": keyword, "type": "3"}).setdefault("items", {})
        if tag_for_keyword(one["keyword"]) is not None:
            known = within.setdefault(_name(one["keyword"]), {})
            known |= {"name": one["keyword"], "type": one["type"]}
            if one["type"].endswith("C"):
                known["cond"] = OPEN
    return out


def _name(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})" if tag is not None else keyword


def _dictionary() -> dict[str, dict[str, str]]:
    return {
        f"({tag >> 16:04X},{tag & 0xFFFF:04X})": {"vr": vr, "vm": vm, "name": name, "prop": ""}
        for tag, (vr, vm, name, _, _) in DicomDictionary.items()
    }


class Standard:
    """Judge of files by the tables of the standard."""

    def __init__(self) -> None:
        from dicom_validator.validator.dicom_file_validator import DicomFileValidator
        from dicom_validator.validator.error_handler import NullValidationResultHandler

        self._validator = DicomFileValidator(standard(), error_handler=NullValidationResultHandler())

    def faults(self, path: Any) -> set[tuple[str, str]]:
        """Keyword and kind of each fault: a missing or empty element, one of no module, a value of another type."""
        from pydicom.datadict import keyword_for_tag

        found = self._validator.validate(path)[str(path)]
        if found.status.name not in ("Passed", "Failed"):
            raise AssertionError(f"{path} was not judged: {found.status.name}")
        return {
            (keyword_for_tag(tag.tag), error.code.name)
            for of_module in (found.module_errors or {}).values()
            for tag, error in of_module.items()
        }
