"""UIDs of what is new: digests of a text that describes it, under a key."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass


def keyed_digest(key: bytes, kind: str, text: str, size: int) -> bytes:
    """Digest of a text of some kind under a key; the text can't be found from it by who has no key."""
    return hashlib.blake2b(f"{kind}\x1f{text}".encode(), key=key, digest_size=size).digest()


def uid_of_digest(digest: bytes) -> str:
    """UID below 2.25 (PS3.5 B.2) of 16 bytes."""
    return f"2.25.{uuid.UUID(bytes=digest, version=4).int}"


@dataclass(frozen=True)
class MadeUids:
    """Maker of the UIDs of what is computed from de-identified images.

    Attributes
    ----------
    key : bytes
        Made from the secret of the de-identification, and of no use to find that: it may lie beside the images, so that
        what is computed from them later gets the same UIDs.
    """

    key: bytes

    def __call__(self, text: str) -> str:
        """Return the UID of something that a text describes, such as a digest of what was computed."""
        return uid_of_digest(keyed_digest(self.key, "made", text, 16))
