"""Tables in the pages that are taken from the code, so that they can't differ from it: ``<!-- table: labels -->``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from imagedata_xr.dicom.pixels.syntaxes import CODECS
from imagedata_xr.model.orders import LABELS, ORDERS, Order

HOW = {
    "value": "equal values, within the tolerance",
    "rank": "the k-th image at each position belongs to volume k",
    "diffusion": "b-value and direction",
    "instance": "instance number",
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Markdown table."""
    head = list(head)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def labels() -> str:
    """Every label with a name of its own."""
    rows = (
        [f"`{label.coord}`", label.units or "-", label.meaning, f"`{label.keyword}`" if label.keyword else "-"]
        for label in LABELS.values()
    )
    return table(("coord", "units", "meaning", "DICOM element"), rows)


def orders() -> str:
    """Every order with a name."""

    def row(order: Order) -> list[str]:
        tag = f"{order.label.coord}, {order.label.units}" if order.scalar else "number of the volume"
        return [f'`"{order.name}"`', tag, HOW[order.by], f"`{order.dim}`", f'`"{order.duplicates}"`']

    head = ("order", "value on `tag`", "images of one volume have", "dim in a grid of several orders", "duplicates")
    return table(head, map(row, ORDERS.values()))


def codecs() -> str:
    """Every compressed transfer syntax that is read, and what decodes it."""
    rows = (
        [codec.name, f"`{uid}`", "imagecodecs" if codec.functions else "nothing needed", codec.others or "-"]
        for uid, codec in CODECS.items()
    )
    return table(("compression", "transfer syntax", "decoded by", "or, through pydicom, by"), rows)


TABLES: dict[str, Callable[[], str]] = {"labels": labels, "orders": orders, "codecs": codecs}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the tables where a page asks for them; an unknown name raises KeyError."""
    return re.sub(r"<!-- table: (\w+) -->", lambda match: TABLES[match[1]](), markdown)
