"""What every command line of the project shares: errors on one line, progress bars, tables."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import typer
from tqdm import tqdm

from preprocess.errors import RawDataError, UserError

EPILOG = "Errors are one line with cause and remedy, exit code 2; --debug shows the traceback."


def new_app(help_text: str) -> typer.Typer:
    """A Typer app with the project's manners: help on no arguments, plain tracebacks, no shell completion."""
    return typer.Typer(
        help=help_text,
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


def run(app: typer.Typer, prog_name: str) -> None:
    """Runs a command line; a person's mistake becomes one line on stderr and exit code 2."""
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        app(args=arguments, prog_name=prog_name)
    except UserError as error:
        if debug:
            raise
        if isinstance(error, RawDataError) and error.layout:
            print(error.layout.rstrip() + "\n", file=sys.stderr)
        fail(str(error))
    except OSError as error:
        if debug or error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        fail(
            f"the disk is full ({error.filename or 'no space left on device'}). Free some space and run the same "
            "command again: what is done is kept."
        )
    except KeyboardInterrupt:
        print("interrupted. Run the same command again to go on: what is done is kept.", file=sys.stderr)
        sys.exit(130)


def fail(message: str, exit_code: int = 2) -> NoReturn:
    """Prints one line to stderr and exits; code 2 is for a person's mistakes."""
    print("error: " + " ".join(message.split()), file=sys.stderr)
    sys.exit(exit_code)


def progress(total: int | None, unit: str, description: str) -> tqdm[Any]:
    """A progress bar with a rate; silent when stderr is no terminal."""
    return tqdm(total=total, unit=unit, desc=description, disable=not sys.stderr.isatty(), smoothing=0.1, leave=False)


def table(rows: Iterable[Sequence[object]], right: frozenset[int] = frozenset()) -> str:
    """Aligns rows of cells in columns, two spaces apart; the columns in `right` are set flush right."""
    cells = [[f"{c:,}" if isinstance(c, int) else str(c) for c in row] for row in rows]
    widths = [
        max((len(row[i]) for row in cells if i < len(row)), default=0) for i in range(max(map(len, cells), default=0))
    ]
    lines = []
    for row in cells:
        parts = [c.rjust(widths[i]) if i in right else c.ljust(widths[i]) for i, c in enumerate(row)]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)
