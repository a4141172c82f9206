"""``imd formats``: the formats there are."""

from __future__ import annotations

import json

import click

from .talk import say


@click.command(short_help="List the formats that are read and written.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def formats(as_json: bool) -> None:
    """List the formats that are read and written, with their extensions."""
    from ..formats.seam import formats as installed

    found = sorted(installed().items())
    if as_json:
        rows = [{"name": n, "extensions": list(f.extensions), "description": f.description} for n, f in found]
        say(json.dumps(rows, indent=2))
        return
    cells = [(name, " ".join(form.extensions), form.description) for name, form in found]
    first, second = (max((len(c[k]) for c in cells), default=0) for k in (0, 1))
    for name, extensions, description in cells:
        say(f"{name:<{first}}  {extensions:<{second}}  {description}".rstrip())
