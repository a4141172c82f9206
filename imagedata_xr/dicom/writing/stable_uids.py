"""UIDs of what was computed from de-identified images: digests of it under their key, so the same at each writing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from ...model.image import volume_dims
from ...model.loading import values_of
from ..headers.header import Headers
from ..headers.made_uids import MadeUids
from .blocks import blocks

_NOT_CONTENT = ("source",)  # of a de-identified image it names the policy


class StableUids:
    """Maker of UIDs, for `uids.made_by`: what is made anew of equal content gets equal ones.

    The image is computed once more for them, unless it is in memory, and not before the first UID is asked for:
    unchanged images have their own.

    Parameters
    ----------
    key : callable
        Makes a UID of a text, with the key of the de-identification.
    image : xarray.DataArray
    asked : str
        What else decides upon the content of what is written.
    """

    def __init__(self, key: Callable[[str], str], image: xr.DataArray, asked: str) -> None:
        self._key, self._image, self._asked = key, image, asked
        self._digest, self._count = "", 0

    def __call__(self, name: str = "") -> str:
        """Return the UID of a name, or of the next thing without one."""
        if not self._digest:
            self._digest = content_digest(self._image, self._asked)
        if not name:
            self._count += 1
        return self._key(f"{self._digest}\x1f{name or self._count}")

    def again(self) -> StableUids:
        """Return this maker as it was at first: for a writing from the beginning."""
        out = StableUids(self._key, self._image, self._asked)
        out._digest = self._digest
        return out


def content_digest(image: xr.DataArray, asked: str = "") -> str:
    """Digest of the values, labels and attrs of an image; block by block."""
    seen = hashlib.blake2b(digest_size=20)

    def take(what: Any) -> None:
        data = what if isinstance(what, bytes) else str(what).encode()
        seen.update(len(data).to_bytes(8, "big") + data)

    take(asked)
    take((image.dims, image.shape, str(image.dtype)))
    for name in sorted(map(str, image.coords)):
        if name not in _NOT_CONTENT:
            coord = image.coords[name].variable
            take((name, coord.dims, _sorted(coord.attrs)))
            _take_values(take, np.asarray(coord.values))
    take(_sorted(image.attrs))
    for block in blocks(image.variable, len(volume_dims(image)) + 1):
        _take_values(take, np.asarray(values_of(image.variable[block])))
    return seen.hexdigest()


def _take_values(take: Callable[[Any], None], values: np.ndarray[Any, Any]) -> None:
    take((values.shape, str(values.dtype)))
    plain = values.dtype.kind in "biufcmM"
    take(np.ascontiguousarray(values).tobytes() if plain else repr([str(v) for v in values.ravel()]))


def _sorted(attrs: Any) -> str:
    plain = {str(k): v.tolist() if hasattr(v, "tolist") else v for k, v in attrs.items()}
    return repr(sorted((k, repr(v)) for k, v in plain.items()))


def key_of(headers: Headers | None) -> MadeUids | None:
    """Maker of UIDs with the key of the de-identification that headers come from; None where they come from none."""
    maker = getattr(headers, "uid_of", None)
    return maker() if callable(maker) else None
