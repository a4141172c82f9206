"""Unique identifiers of what this library makes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ...stores.implementation import CLASS_UID as IMPLEMENTATION_CLASS_UID
from ...stores.implementation import VERSION_NAME as IMPLEMENTATION_VERSION_NAME

__all__ = ["IMPLEMENTATION_CLASS_UID", "IMPLEMENTATION_VERSION_NAME", "made_by", "new_uid"]

_maker: ContextVar[Callable[[str], str] | None] = ContextVar("maker of UIDs", default=None)


def new_uid(name: str = "") -> str:
    """Return a new UID made of a random UUID (PS3.5 B.2): valid everywhere, and registered by nobody.

    Parameters
    ----------
    name : str
        What it is of, where there is one such thing in all that is written together: within `made_by` the same UID for
        the same name. Without one each is another.
    """
    maker = _maker.get()
    return f"2.25.{uuid.uuid4().int}" if maker is None else maker(name)


@contextmanager
def made_by(maker: Callable[[str], str]) -> Iterator[None]:
    """UIDs are made by a callable of their names instead of by chance, while this lasts."""
    token = _maker.set(maker)
    try:
        yield
    finally:
        _maker.reset(token)
