"""The command ``imd``: one file per verb, imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from .. import __version__
from ..options import set_options
from .talk import DEBUG, Transfers, failing, warnings_as_lines

__all__ = ["main"]

VERBS = {
    "cache": "Look at what is kept of earlier openings, or remove it.",
    "convert": "Write an image, or every image, in another format.",
    "deidentify": "Write every image without what identifies the patient.",
    "formats": "List the formats that are read and written, and what is missing for them.",
    "info": "Tell what files hold, without naming the patient.",
    "ls": "List series, one line each, without naming the patient.",
}
"""The verbs, each with its line in the help of ``imd``, which is shown without importing them."""


class Verbs(click.Group):
    """The verbs, each in a module of its name; errors and warnings become lines on stderr."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the verbs."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb; None for a word that is none."""
        if cmd_name not in VERBS:
            return None
        command = getattr(import_module(f".{cmd_name}", __name__), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb: exit code 1 after an error, 130 after Ctrl-C."""
        with warnings_as_lines(), failing(ctx):
            return super().invoke(ctx)


@click.command(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 an error, 2 a wrong command line, 130 interrupted.",
)
@click.version_option(__version__, prog_name="imd")
@click.option("--debug", is_flag=True, help="Show where an error comes from. This may show identifiers.")
@click.pass_context
def main(ctx: click.Context, debug: bool) -> None:
    """Medical images on the command line.

    The output names no patient, unless --identifiers asks for it.
    """
    ctx.meta[DEBUG] = debug
    ctx.with_resource(set_options(progress=Transfers(None)))
