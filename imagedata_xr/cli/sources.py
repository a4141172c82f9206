"""What is read: the options that say it, and the images that it holds, numbered."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from ..formats.reading import find_nodes, tree_paths
from ..formats.seam import Node, ReadOptions
from ..model.orders import ORDERS


def _series(ctx: click.Context, option: click.Parameter, value: str | None) -> str | int | None:
    # a number is one for the formats too, where it has no leading zeros to be kept
    return int(value) if value is not None and value.isdecimal() and str(int(value)) == value else value


def keywords(ctx: click.Context, option: click.Parameter, pairs: Sequence[str]) -> dict[str, Any]:
    """Return values by name, of ``name=value`` each, in the type that they look like.

    >>> keywords(None, None, ["bits=16", "window=40,400", "compress=true", "names=a_%d.png"])
    {'bits': 16, 'window': (40, 400), 'compress': True, 'names': 'a_%d.png'}
    """
    out = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"{pair!r} is no NAME=VALUE", ctx, option)
        out[name.strip()] = _value(text)
    return out


def _value(text: str) -> Any:
    """Value of a text: JSON, True and False, numbers parted by commas, else the text."""
    try:
        return json.loads({"True": "true", "False": "false"}.get(text, text))
    except ValueError:
        pass
    try:
        return tuple(json.loads(f"[{text}]")) if "," in text else text
    except ValueError:
        return text


_OPTIONS = (
    click.option(
        "--order",
        default="auto",
        show_default=True,
        help=f"What the volumes are ordered by: {', '.join(ORDERS)}, a DICOM keyword, or several joined by commas.",
    ),
    click.option(
        "--series",
        callback=_series,
        help="Number, UID, or description (* and ? stand for other letters) of the series. Of files that are no DICOM: "
        "the name without extension.",
    ),
    click.option("--stack", type=click.IntRange(0), help="Number of the stack, in a series with several."),
    click.option("--acquisition", type=int, multiple=True, help="Acquisition number to take; repeat it."),
    click.option("--echo", type=int, multiple=True, help="Echo number to take; repeat it."),
    click.option("--split", multiple=True, metavar="KEYWORD", help="Images that differ in this element are stacks."),
    click.option(
        "--missing",
        type=click.Choice(["raise", "drop", "fill"]),
        default="raise",
        show_default=True,
        help="Incomplete volumes are an error, left out, or filled with NaN.",
    ),
    click.option(
        "--duplicates",
        type=click.Choice(["raise", "keep"]),
        help="Images of one position and value are an error, or volumes of their own.  [default: by the order]",
    ),
    click.option(
        "--errors",
        type=click.Choice(["warn", "raise"]),
        default="warn",
        show_default=True,
        help="Damaged files are named in a warning, or are an error.",
    ),
    click.option(
        "--read-option", "format_options", multiple=True, metavar="NAME=VALUE", callback=keywords,
        help="An option of the format that is read, such as dpi=300 of PDF; repeat it.",
    ),
    click.option(
        "--storage-option", "storage_options", multiple=True, metavar="NAME=VALUE", callback=keywords,
        help="An option of the store, such as anon=true of S3; repeat it.",
    ),
)  # fmt: skip


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how a source is read; `read_options` takes what they give."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_options(given: dict[str, Any]) -> ReadOptions:
    """Return what the options of `reading_options` ask for."""
    several = {name: list(given[name]) or None for name in ("split", "acquisition", "echo")}
    return ReadOptions(**{**given, **several, "storage_options": given["storage_options"] or None})


@dataclass(frozen=True)
class Found:
    """One image or object of a source: its number among the images (0 for none), path in the tree, and node."""

    number: int
    path: str
    node: Node


def numbered(sources: Sequence[str], options: ReadOptions) -> tuple[list[Found], list[Found]]:
    """Images of a source, numbered from 1, and its objects without pixels."""
    images: list[Found] = []
    others: list[Found] = []
    for path, node in tree_paths(find_nodes(as_source(sources), None, options)):
        if callable(node.dataset) or node.dataset.data_vars:
            images.append(Found(len(images) + 1, path, node))
        else:
            others.append(Found(0, path, node))
    return images, others


def as_source(sources: Sequence[str]) -> str | list[str]:
    """Return one source alone, several as a list."""
    return sources[0] if len(sources) == 1 else list(sources)
