"""Several sources of headers as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pydicom
from numpy.typing import NDArray

from .header import Headers, Place, Telling, is_renamed, one_of_each
from .made_uids import MadeUids


class JoinedHeaders:
    """Several sources of headers as one; the first that knows an image answers for it."""

    def __init__(self, parts: list[Headers]) -> None:
        self._by_instance: dict[int, Headers] = {}
        self._unlisted: list[Headers] = []
        for part in reversed(parts):
            self.put_first(part)

    def put_first(self, part: Headers) -> None:
        """Add a source that is asked before the others; those of which nothing is left are forgotten."""
        listed = _instances(part)
        self._by_instance.update(dict.fromkeys(listed, part))
        if not listed:
            self._unlisted.insert(0, part)

    def _of(self, instance: int) -> Headers | None:
        found = self._by_instance.get(int(instance))
        return found or next((p for p in self._unlisted if p.has(instance)), None)

    def instances(self) -> list[int]:
        """Digests of all images of those sources that can list them."""
        return list(self._by_instance)

    def one_of_each(self, instances: Sequence[int], telling: Telling) -> list[int]:
        """One of the images of each source for each way in which their headers say some elements."""
        parts: dict[int, tuple[Headers, list[int]]] = {}
        for digest in instances:
            if (part := self._of(digest)) is not None:
                parts.setdefault(id(part), (part, []))[1].append(digest)
        return [digest for part, own in parts.values() for digest in one_of_each(part, own, telling)]

    def name(self, instance: int) -> tuple[str, int] | None:
        """SOP Instance UID and frame number of an image; None where its source does not remember them."""
        name = getattr(self._of(instance), "name", None)
        return None if name is None else name(instance)

    def renamed(self, instance: int) -> bool:
        """Whether an image has UIDs that were made for it, under which it is written."""
        return is_renamed(self._of(instance), instance)

    def uid_of(self) -> MadeUids | None:
        """Maker of the UIDs of what is computed, where all images were de-identified with one key; else None."""
        parts = {id(p): p for p in (*self._by_instance.values(), *self._unlisted)}
        makers = [getattr(p, "uid_of", None) for p in parts.values()]
        found = {maker() if maker is not None else None for maker in makers}
        return found.pop() if len(found) == 1 else None

    def has(self, instance: int) -> bool:
        """Whether any part knows this image."""
        return self._of(instance) is not None

    def dataset(self, instance: int) -> pydicom.Dataset:
        """One image's whole header."""
        part = self._of(instance)
        if part is None:
            raise KeyError(instance)
        return part.dataset(instance)

    def same_pixels(self, instance: int, stored: NDArray[Any]) -> bool:
        """Whether these stored values are those of the source."""
        part = self._of(instance)
        return part is not None and part.same_pixels(instance, stored)

    def pixel_digest(self, instance: int) -> str:
        """Digest of the stored values of the source."""
        part = self._of(instance)
        if part is None:
            raise KeyError(instance)
        return part.pixel_digest(instance)

    def stored(self, instance: int) -> NDArray[Any] | None:
        """Stored values of the source, where it still has them."""
        part = self._of(instance)
        return None if part is None else part.stored(instance)

    def place(self, instance: int) -> Place | None:
        """Where the plane lies, where its source knows."""
        part = self._of(instance)
        return None if part is None else part.place(instance)

    def identity(self, instance: int) -> tuple[int, int]:
        """Digests of the patient and of the study of the image."""
        part = self._of(instance)
        if part is None:
            raise KeyError(instance)
        return part.identity(instance)

    def original(self, instance: int) -> pydicom.Dataset | None:
        """The whole instance, where its source still has it."""
        part = self._of(instance)
        return None if part is None else part.original(instance)

    def content(self, instance: int) -> bytes | None:
        """Bytes of the file, where its source has files that are written as they are."""
        content = getattr(self._of(instance), "content", None)
        return None if content is None else content(instance)


def _instances(headers: Headers) -> list[int]:
    """Digests of all images of a source; none where it can't list them."""
    lister = getattr(headers, "instances", None)
    return [] if lister is None else list(lister())
