"""What a source header says of diffusion, private elements included: by the same vendors' modules as reading."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from ...errors import SourceError
from ...model.orders import DIRECTIONALITY
from ..framing.csa import parse_csa, weighting
from ..headers.header import Headers
from ..scanning.vr import CSA_HEADER, SIEMENS_B_VALUE
from ..vendors import Diffusion, vendor_of


class _OneHeader:
    """One header, as vendors' modules want to see images."""

    def __init__(self, header: pydicom.Dataset) -> None:
        self._header = header
        self._csa: dict[str, Any] = {}
        if not self._value(SIEMENS_B_VALUE) and not self._value("DiffusionBValue"):
            self._csa = _weighting(header)

    def __len__(self) -> int:
        return 1

    def _value(self, key: str | tuple[str, int, int]) -> list[Any]:
        try:
            if isinstance(key, str):
                value = self._csa[key] if key in self._csa else self._header.get(key)
            else:
                creator, group, element = key
                value = self._header.get_private_item(group, element, creator).value
        except KeyError:
            return []
        if value is None or value == "":
            return []
        if isinstance(value, bytes):  # of unknown VR, in a file with implicit ones
            value = value.decode("ascii", "replace").strip("\0 ").split("\\")
        return [value] if isinstance(value, (str, int, float)) else list(value)

    def numbers(self, key: str | tuple[str, int, int], width: int = 1) -> NDArray[np.float64]:
        """Return an element as floats; NaN where absent."""
        out = np.full(width, np.nan)
        for i, value in enumerate(self._value(key)[:width]):
            try:
                out[i] = float(value)
            except (TypeError, ValueError):
                break
        return out if width == 1 else out[None]

    def strings(self, keyword: str | tuple[str, int, int]) -> list[tuple[str, ...] | None]:
        """Return an element as texts."""
        return [tuple(map(str, self._value(keyword))) or None]

    def data(self, k: int, key: str | tuple[str, int, int]) -> bytes:
        """Return an element's bytes; empty where it is absent or of another VR."""
        try:
            found = self._header[key] if isinstance(key, str) else self._header.get_private_item(*key[1:], key[0])
        except KeyError:
            return b""
        return found.value if isinstance(found.value, bytes) else b""


def _weighting(header: pydicom.Dataset) -> dict[str, Any]:
    """What a CSA header says of diffusion, under the names of the standard's elements."""
    creator, group, element = CSA_HEADER
    try:
        said = weighting(parse_csa(bytes(header.get_private_item(group, element, creator).value or b"")))
    except (KeyError, TypeError, SourceError):  # absent, or damaged, which reading has warned of
        said = None
    if said is None:
        return {}
    b_value, vector, word = said
    out: dict[str, Any] = {"DiffusionBValue": b_value, "DiffusionDirectionality": word}
    return out if np.isnan(vector).any() else out | {"DiffusionGradientOrientation": vector.tolist()}


def diffusion_of(header: pydicom.Dataset) -> tuple[float, NDArray[np.float64]] | None:
    """b-value (s/mm2) and direction (shape (3,), LPS; zero without one) of a header; None where it says nothing."""
    one = _OneHeader(header)
    found = Diffusion.empty(1)
    creators = (str(e.value).strip() for e in header if e.tag.is_private_creator)
    vendor = vendor_of(str(header.get("Manufacturer") or ""), creators)
    if vendor is not None:
        found = vendor.diffusion(one)
    word = next(iter(one.strings("DiffusionDirectionality")[0] or ("",)))
    code = float(DIRECTIONALITY.index(word)) if word in DIRECTIONALITY else np.nan
    found.fill(
        Diffusion(one.numbers("DiffusionBValue"), one.numbers("DiffusionGradientOrientation", 3), np.array([code]))
    )
    done = found.finish()
    return None if np.isnan(done.b_value[0]) else (float(done.b_value[0]), done.vector[0])


def unknown_b_values(wanted: Iterable[float], headers: Headers) -> set[float]:
    """Those of some b-values that no image of the source has; none where the source can't list its images.

    Headers are read until every value is found.
    """
    missing = set(wanted)
    instances = getattr(headers, "instances", None)
    if not callable(instances):
        return set()
    for instance in instances():
        if not missing:
            break
        found = diffusion_of(headers.dataset(instance))
        if found is not None:
            missing = {b for b in missing if abs(b - found[0]) > 1}
    return missing
