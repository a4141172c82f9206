"""Running the command ``imd`` in this process, for tests."""

from __future__ import annotations

from click.testing import CliRunner, Result

from imagedata_xr.cli import main


def imd(*args: object) -> Result:
    """Run the command in this process; what it does not expect is raised."""
    result = CliRunner().invoke(main, [str(a) for a in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def lines(text: str) -> list[str]:
    """Lines with runs of blanks as one, and none at the ends."""
    return [" ".join(line.split()) for line in text.splitlines()]
