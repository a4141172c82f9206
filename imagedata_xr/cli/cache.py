"""``imd cache``: what is kept of earlier openings, and emptying it."""

from __future__ import annotations

import json

import click

from .talk import say, size


@click.group(short_help="Look at what is kept of earlier openings, or remove it.")
def cache() -> None:
    """Look at what is kept of earlier openings, or remove it.

    Scanned headers make opening the same files again faster; they hold no names, IDs or other elements of the patient.
    Series that were fetched from archives are whole, where they were to be kept.
    """


@cache.command(short_help="Tell where the cache is and how much it holds.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def info(as_json: bool) -> None:
    """Tell where the cache is, how much it holds and may hold."""
    from ..dicom.scanning.cache_folder import usage
    from ..options import options
    from ..stores.network import transfers

    folder, count, held = usage()
    place, series, size_ = transfers.usage()
    if as_json:
        told = {"folder": str(folder), "entries": count, "bytes": held, "limit": options().cache_size}
        fetched = {"folder": str(place), "series": series, "bytes": size_, "limit": options().transfer_size}
        say(json.dumps({**told, "cache": options().cache, "transfers": fetched}, indent=2))
        return
    say(f"folder   {folder}")
    say(f"entries  {count}, {size(held)} of {size(options().cache_size)}")
    if series:
        say(f"fetched  {series} series, {size(size_)} of {size(options().transfer_size)}: {place}")


@cache.command(short_help="Remove all entries.")
def clear() -> None:
    """Remove all entries of the cache, and series that were fetched; other files in its folder stay."""
    from ..dicom.scanning.cache_folder import clear as remove
    from ..stores.network import transfers

    count, freed = remove()
    say(f"{count} entries removed, {size(freed)}")
    series, fetched = transfers.clear()
    if series:
        say(f"{series} fetched series removed, {size(fetched)}")
