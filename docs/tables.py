"""Tables in the pages that are taken from the code, so that they can't differ from it: ``<!-- table: labels -->``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
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


def shipped() -> str:
    """Every DICOM file that pydicom brings along, and what becomes of it; files of one outcome share a row."""
    import pydicom.data

    folder = Path(pydicom.data.__file__).parent
    found: dict[tuple[str, str], list[str]] = {}
    for path in sorted(p for part in ("test_files", "charset_files") for p in (folder / part).rglob("*")):
        if path.is_file() and path.suffix not in NO_DICOM and path.name not in NO_DICOM:
            found.setdefault(outcome(path), []).append(path.name)
    rows = ([kind, what, _names(names)] for (kind, what), names in sorted(found.items()))
    return table(("kind", "outcome", "files"), rows)


NO_DICOM = (".txt", ".json", ".dump", ".icc", "README")


def outcome(path: Path) -> tuple[str, str]:
    """Kind of a file, and its images (sizes and type), that it is an object without pixels, or why it is refused."""
    import warnings

    import xarray as xr

    from imagedata_xr import ImagedataError

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            tree = xr.open_datatree(path, engine="imagedata").load()
        except ImagedataError as error:
            said = [str(w.message) for w in caught] or [str(error)]
            return "refused", _plain("; ".join(said), path)
    nodes = [node.to_dataset() for node in tree.subtree]
    images = [ds["image"] for ds in nodes if "image" in ds.data_vars]
    said = [_plain(str(w.message), path) for w in caught]
    if not images:
        words = {str(ds.attrs.get("Modality", "")) for ds in nodes} - {""}
        return "no image", "; ".join([" ".join(["headers only", *sorted(words)]), *said])
    if len(images) > 1:
        return "several images", "; ".join([f"{len(images)} images", *said])
    (image,) = images
    sizes = " x ".join(f"{n} {dim}" for dim, n in image.sizes.items() if n > 1)
    return str(image.attrs.get("Modality", "image")), "; ".join([f"{sizes}, {image.dtype}", *said])


def _plain(text: str, path: Path) -> str:
    """A message without the folder of the file, and without marks that a table would take for its own."""
    return text.replace(f"{path.parent}/", "").replace(path.name, "it").replace("|", "/").replace("\n", " ")


def _names(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 5 else ""
    return ", ".join(f"`{name}`" for name in (names[:4] if more else names)) + more


TABLES: dict[str, Callable[[], str]] = {"labels": labels, "orders": orders, "codecs": codecs, "shipped": shipped}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the tables where a page asks for them; an unknown name raises KeyError."""
    return re.sub(r"<!-- table: (\w+) -->", lambda match: TABLES[match[1]](), markdown)
