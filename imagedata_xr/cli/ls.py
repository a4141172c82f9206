"""``imd ls``: one line per series."""

from __future__ import annotations

import json
from typing import Any

import click

from ..stores.registry import Lists, store_of
from .sources import as_source, read_options, reading_options
from .talk import in_options, say, size


@click.command(short_help="List series, one line each, without naming the patient.")
@click.argument("path", nargs=-1, required=True)
@reading_options
@click.option("--identifiers", is_flag=True, help="Show the path in the tree, and texts as they are.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with all that is known of each.")
def ls(path: tuple[str, ...], identifiers: bool, as_json: bool, **given: Any) -> None:
    """List the series of files, folders, globs or URLs. Several are one source.

    Only headers are read. Patients and studies are numbers that are the same wherever they occur.
    """
    from ..formats.catalog import catalog

    asked = read_options(given)
    store: Any = store_of(path[0]) if len(path) == 1 else None
    if isinstance(store, Lists):
        _tell_level(store.listing(path[0], asked.storage_options, identifiers), as_json)
        return
    table = catalog(as_source(path), identifiers=identifiers, **{name: getattr(asked, name) for name in given})
    rows = json.loads(table.to_json(orient="records"))
    if as_json:
        say(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    heads = ["node" if identifiers else "patient", "series", "modality", "description", "shape", "order", "size"]
    cells = [heads, *(_cells(row, heads[0]) for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(heads))]
    for line in cells:
        say("  ".join(f"{text:<{n}}" for text, n in zip(line, widths, strict=True)).rstrip())


def _tell_level(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Say what an archive holds at one level."""
    if as_json:
        say(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for row in rows:
        count = "" if row["count"] is None else str(row["count"])
        say(f"{row['level']:<8}{count:>6}  {row['address']}  {row['text']}".rstrip())


def _cells(row: dict[str, Any], first: str) -> list[str]:
    chosen = "" if row["series"] is None else str(row["series"])
    if row["stack"] is not None:
        chosen += f" stack {row['stack']}"
    shape = " x ".join(str(n) for n in row["shape"].values())
    if not row["opens"]:
        shape = in_options(row["reason"].partition("\n")[0])
    bytes_ = "" if row["bytes"] is None else size(row["bytes"])
    who = "" if row[first] is None else str(row[first])
    return [who, chosen, row["modality"], row["description"], shape, row["order"], bytes_]
