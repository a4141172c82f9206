"""``imd formats``: the formats there are."""

from __future__ import annotations

import json

import click

from .talk import say


@click.command(short_help="List the formats that are read and written, and what is missing for them.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def formats(as_json: bool) -> None:
    """List the formats: read and written (rw) or only read (r), their extensions, and what is to be installed."""
    from ..formats.seam import formats as installed
    from ..formats.seam import missing, writes

    found = sorted(installed().items())
    if as_json:
        rows = [
            {
                "name": name, "extensions": list(form.extensions), "description": form.description,
                "writes": writes(form), "missing": missing(form),
            }
            for name, form in found
        ]  # fmt: skip
        say(json.dumps(rows, indent=2))
        return
    cells = []
    for name, form in found:
        lacks = f"; missing: {missing(form)}" if missing(form) else ""
        cells.append((name, "rw" if writes(form) else "r", " ".join(form.extensions), form.description + lacks))
    widths = [max((len(line[k]) for line in cells), default=0) for k in range(3)]
    for *first, last in cells:
        say("  ".join([*(text.ljust(n) for text, n in zip(first, widths, strict=True)), last]).rstrip())
