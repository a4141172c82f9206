"""``imd cache``: what the cache of scans holds, and emptying it."""

from __future__ import annotations

import json

import click

from .talk import say, size


@click.group(short_help="Look at the cache of scanned headers, or empty it.")
def cache() -> None:
    """Look at the cache of scanned headers, or empty it.

    It makes opening the same files again faster. It holds no names, IDs or other elements of the patient.
    """


@cache.command(short_help="Tell where the cache is and how much it holds.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def info(as_json: bool) -> None:
    """Tell where the cache is, how much it holds and may hold."""
    from ..dicom.scanning.cache_folder import usage
    from ..options import options

    folder, count, held = usage()
    if as_json:
        told = {"folder": str(folder), "entries": count, "bytes": held, "limit": options().cache_size}
        say(json.dumps({**told, "cache": options().cache}, indent=2))
        return
    say(f"folder   {folder}")
    say(f"entries  {count}, {size(held)} of {size(options().cache_size)}")


@cache.command(short_help="Remove all entries.")
def clear() -> None:
    """Remove all entries of the cache; other files in its folder stay."""
    from ..dicom.scanning.cache_folder import clear as remove

    count, freed = remove()
    say(f"{count} entries removed, {size(freed)}")
