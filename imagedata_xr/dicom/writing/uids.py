"""Unique identifiers of what this library makes."""

from __future__ import annotations

import uuid

from ...stores.implementation import CLASS_UID as IMPLEMENTATION_CLASS_UID
from ...stores.implementation import VERSION_NAME as IMPLEMENTATION_VERSION_NAME

__all__ = ["IMPLEMENTATION_CLASS_UID", "IMPLEMENTATION_VERSION_NAME", "new_uid"]


def new_uid() -> str:
    """Return a new UID made of a random UUID (PS3.5 B.2): valid everywhere, and registered by nobody."""
    return f"2.25.{uuid.uuid4().int}"
