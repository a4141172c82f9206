"""De-identified headers of images: made from those of the source when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from ...model.identity import instance_digest
from ..framing.mosaic import WORD as MOSAIC
from ..headers.header import Headers, Place, Telling, identity_of_header, one_of_each
from ..headers.made_uids import MadeUids
from ..vendors.uih import TILES
from ..vendors.uih import WORD as GRID
from ..writing.classic import frame_digests, tile_digests
from ..writing.unchanged import stored_of
from .cleaning import Cleaner
from .codestreams import without_texts
from .policy import Policy
from .private_kept import Weighting


class DeidentifiedHeaders:
    """Headers of a source as a policy leaves them, under the digests of the new instances.

    Parameters
    ----------
    source : Headers
    policy : Policy
    old : mapping
        Digest of the new instance -> that of the source's.
    weighted : mapping, optional
        Diffusion weighting of images of the source, for headers that do not say it themselves.
    """

    def __init__(
        self,
        source: Headers,
        policy: Policy,
        old: Mapping[int, int],
        weighted: Mapping[int, Weighting] | None = None,
    ) -> None:
        self._source, self._policy, self._old, self._weighted = source, policy, dict(old), dict(weighted or {})
        self._cleaner = Cleaner(policy)
        self._people: dict[tuple[int, int], tuple[int, int]] = {}

    def renamed(self, instance: int) -> bool:
        """Return True: the images have UIDs that were made for them, under which they are written."""
        return True

    def uid_of(self) -> MadeUids:
        """Maker of the UIDs of what is computed from these images, of a text that describes it."""
        return self._cleaner.pseudonyms.made

    def instances(self) -> list[int]:
        """Digests of all images."""
        return list(self._old)

    def one_of_each(self, instances: Sequence[int], telling: Telling) -> list[int]:
        """One of the images for each way in which the headers of the source say some elements."""
        new = {self._old[int(d)]: int(d) for d in instances}
        return [new[d] for d in one_of_each(self._source, list(new), telling)]

    def has(self, instance: int) -> bool:
        """Whether this image is known."""
        return int(instance) in self._old

    def dataset(self, instance: int) -> pydicom.Dataset:
        """One image's whole header, de-identified."""
        old = self._old[int(instance)]
        return self._cleaner.header(self._source.dataset(old), self._weighted.get(old))

    def identity(self, instance: int) -> tuple[int, int]:
        """Digests of the new patient and study of the image."""
        before = self._source.identity(self._old[int(instance)])
        if before not in self._people:
            self._people[before] = identity_of_header(self.dataset(instance))
        return self._people[before]

    def place(self, instance: int) -> Place | None:
        """Where the plane lies."""
        return self._source.place(self._old[int(instance)])

    # --- pixels ------------------------------------------------------------------------------------------------------
    def stored(self, instance: int) -> NDArray[Any] | None:
        """Stored values, blanked where that is asked for."""
        values = self._source.stored(self._old[int(instance)])
        return values if values is None else self._blanked(values, instance)

    def same_pixels(self, instance: int, stored: NDArray[Any]) -> bool:
        """Whether these stored values are those of the source, blanked where that is asked for."""
        if not self._policy.regions:
            return self._source.same_pixels(self._old[int(instance)], stored)
        own = self.stored(instance)
        return own is not None and bool(np.array_equal(own, stored, equal_nan=own.dtype.kind == "f"))

    def pixel_digest(self, instance: int) -> str:
        """Digest of the stored values."""
        from ..pixels.digests import pixel_digest

        if not self._policy.regions:
            return self._source.pixel_digest(self._old[int(instance)])
        own = self.stored(instance)
        return "" if own is None else pixel_digest(own)

    def _blanked(self, values: NDArray[Any], instance: int) -> NDArray[Any]:
        if not self._policy.regions:
            return values
        # the stored value that is 0 after the rescale
        nought = stored_of(np.zeros((1, 1), np.float32), self.dataset(instance), False) if values.ndim == 2 else None
        out = np.array(values)
        for rows, columns in self._policy.regions:
            out[rows, columns] = 0 if nought is None else nought[0, 0]
        return out

    def original(self, instance: int) -> pydicom.Dataset | None:
        """The whole instance, de-identified, with its pixel data as stored; with native ones where it is blanked.

        None for a picture of tiles whose tiles are blanked, or without the private elements that say how they lie: its
        slices are written one by one.
        """
        ds = self._source.original(self._old[int(instance)])
        if ds is None:
            return None
        tiles = _has_tiles(ds)
        if tiles and (self._policy.regions or "retain_safe_private" not in self._policy.options):
            return None
        out = self._cleaner.header(ds, self._weighted.get(self._old[int(instance)]))
        without_texts(out)
        return self._with_blanked_pixels(out) if self._policy.regions and "PixelData" in out else out

    def _with_blanked_pixels(self, ds: pydicom.Dataset) -> pydicom.Dataset | None:
        digests = list(frame_digests(ds))
        frames = [self.stored(d) for d in digests if self.has(d)]
        if len(frames) != len(digests) or not frames or any(f is None for f in frames):
            return None
        whole = np.stack([f for f in frames if f is not None])
        if whole.dtype.kind not in "iu" or int(ds.BitsAllocated) not in (8, 16, 32):
            return None
        kind = "i" if ds.get("PixelRepresentation") and whole.ndim == 3 else "u"
        data = np.ascontiguousarray(whole, f"<{kind}{int(ds.BitsAllocated) // 8}").tobytes()
        if whole.ndim == 4:
            ds.PhotometricInterpretation, ds.PlanarConfiguration = "RGB", 0
        vr = "OB" if int(ds.BitsAllocated) == 8 else "OW"
        ds.add_new("PixelData", vr, data + b"\0" * (len(data) % 2))
        for table in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            if table in ds:
                del ds[table]
        ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        return ds


def _has_tiles(ds: pydicom.Dataset) -> bool:
    """Whether a picture holds the slices of a volume as tiles: a mosaic of Siemens, or a grid of United Imaging."""
    words = ds.get("ImageType") or ()
    if MOSAIC in words or GRID in words:
        return True
    try:
        return TILES[2] in ds.private_block(TILES[1], TILES[0])
    except KeyError:
        return False


def new_instances(source: Headers, digests: NDArray[np.int64], cleaner: Cleaner) -> dict[int, int]:
    """Digest of each image of a source -> that of the new instance; images that are not known are left out."""
    out: dict[int, int] = {}
    for digest in np.unique(digests[digests > 0]).tolist():
        if not source.has(digest):
            continue
        uid, number = name_of(source, digest)
        out[digest] = instance_digest(cleaner.pseudonyms.uid(uid), number)
    return out


def name_of(source: Headers, digest: int) -> tuple[str, int]:
    """SOP Instance UID and frame number of an image; without reading its file where the source remembers them."""
    name = getattr(source, "name", None)
    found = name(digest) if callable(name) else None
    if found is not None:
        return str(found[0]), int(found[1])
    ds = source.dataset(digest)
    return str(ds.SOPInstanceUID), frame_digests(ds).get(digest) or tile_digests(ds)[digest]
