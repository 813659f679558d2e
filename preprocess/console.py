"""Shared by every command line of the project: one-line errors, progress bars, tables, numbers with units."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import re
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, NoReturn

import typer
from tqdm import tqdm
from typer.core import TyperGroup

from preprocess import interrupts, temporary
from preprocess.errors import RawDataError, UserError
from preprocess.os_errors import as_user_error, os_error_in

EPILOG = "Errors are one line with cause and remedy, exit code 2; --debug shows the traceback."

_TURN_S = 0.1


# C0 and C1 controls, line separators, and the marks that change the direction of the text around them.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def _debug_option() -> Any:
    """`--debug` as Typer builds it; `run` removes it from the arguments, so that it may stand anywhere on the line."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def _(debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False) -> None: ...

    option = typer.main.get_command(app).params[0]
    option.expose_value = False
    return option


def _with_debug(command: Any) -> Any:
    """The command, with `--debug` under its Options."""
    if command is not None and all(param.name != "debug" for param in command.params):
        command.params.append(_debug_option())
    return command


def finite(value: float | None) -> float | None:
    """A callback of options: refuses NaN, which passes every comparison with a limit, and infinity.

    Raises:
        BadParameter: The value is one of these.
    """
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value!r} is not a finite number.")
    return value


class _Group(TyperGroup):
    """A group whose commands all list `--debug`."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _with_debug(super().get_command(ctx, cmd_name))


def new_app(help_text: str) -> typer.Typer:
    """A Typer app with the project's defaults: help on no arguments, plain tracebacks, no shell completion."""
    return typer.Typer(
        cls=_Group,
        help=help_text,
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


def use_utf8() -> None:
    """Starts the command again in Python's UTF-8 mode where the locale gives file names another encoding.

    File names become captions, labels and paths in JSON: they must not depend on the locale.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very command


@contextlib.contextmanager
def _orderly() -> Iterator[None]:
    """Temporary files and signals of a command; see `preprocess.temporary` and `preprocess.interrupts`."""
    use_utf8()
    with interrupts.as_one_line(before_end=temporary.remove_own_folder):
        temporary.use_own_folder()
        yield


@_orderly()
def run(app: typer.Typer, prog_name: str) -> None:
    """Runs a command line; a user error becomes one line on stderr and exit code 2, an interruption 130 or 143."""
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Printable())
    try:
        with _printed_whole():
            _with_debug(typer.main.get_command(app))(args=arguments, prog_name=prog_name)
    except UserError as error:
        if debug:
            raise
        if isinstance(error, RawDataError) and error.layout:
            print("\n".join(map(printable, error.layout.rstrip().split("\n"))) + "\n", file=sys.stderr)
        fail(str(error))
    except Exception as error:
        refused = os_error_in(error)
        if debug or refused is None:
            raise
        fail(str(as_user_error(refused)))


@contextlib.contextmanager
def _printed_whole() -> Iterator[None]:
    """Finds out whether all that was printed has arrived, while an error can still be reported.

    Raises:
        OSError: As writing to stdout does.
    """
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except OSError as error:
            # Python flushes stdout once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):  # whoever reads has enough, as `head` does
                sys.exit(1)
            raise


class _Printable(logging.Formatter):
    """A warning may name files and ids of annotations, so it is escaped like everything else that is printed."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def fail(message: str, exit_code: int = 2) -> NoReturn:
    """Prints one line to stderr and exits; code 2 is for user errors."""
    print("error: " + printable(" ".join(message.split())), file=sys.stderr)
    sys.exit(exit_code)


def progress(total: int | None, unit: str, description: str, *, shown: bool = True, scaled: bool = False) -> tqdm[Any]:
    """A progress bar with a rate; silent when stderr is not a terminal, or when it is not to be shown.

    With `scaled`, numbers are shown as 1.5k or 6.4G, for bytes.
    """
    silent = not (shown and sys.stderr.isatty())
    return tqdm(
        total=total,
        unit=unit,
        desc=printable(description),
        disable=silent,
        smoothing=0.1,
        leave=False,
        unit_scale=scaled,
    )


@contextlib.contextmanager
def waiting(text: str, *, shown: bool = True) -> Iterator[None]:
    """A line with a turning mark on stderr until the block ends; silent where `progress` is."""
    if not (shown and sys.stderr.isatty()):
        yield
        return
    ended = threading.Event()

    def turn() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, interrupts.SIGNALS)  # they are for the main thread
        for mark in itertools.cycle("|/-\\"):
            print(f"\r{mark} {printable(text)} …", end="", file=sys.stderr, flush=True)
            if ended.wait(_TURN_S):
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)  # erases the line
                return

    thread = threading.Thread(target=turn, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def printable(text: str) -> str:
    r"""The text with control characters escaped, so that a hostile name cannot drive the terminal it is printed on.

    Examples:
        >>> printable("ds_\x1b[2J.tar")
        'ds_\\x1b[2J.tar'
    """
    return _UNPRINTABLE.sub(lambda m: m[0].encode("unicode_escape").decode("ascii"), text)


def table(rows: Iterable[Sequence[object]], right: frozenset[int] = frozenset()) -> str:
    """Aligns rows of cells in columns, two spaces apart; the columns in `right` are right-aligned."""
    cells = [[f"{c:,}" if isinstance(c, int) else printable(str(c)) for c in row] for row in rows]
    widths = [
        max((len(row[i]) for row in cells if i < len(row)), default=0) for i in range(max(map(len, cells), default=0))
    ]
    lines = []
    for row in cells:
        parts = [c.rjust(widths[i]) if i in right else c.ljust(widths[i]) for i, c in enumerate(row)]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def plain_number(value: float) -> str:
    """A number with all of its digits.

    Examples:
        >>> plain_number(29.97002997), plain_number(2.0)
        ('29.97002997', '2')
    """
    return str(value).removesuffix(".0")


def human_bytes(count: int) -> str:
    """A size in decimal units, as the Hub shows it.

    Examples:
        >>> human_bytes(1536), human_bytes(999), human_bytes(8_123_456_789)
        ('1.5 kB', '999 B', '8.1 GB')
    """
    if count < 1000:
        return f"{count} B"
    size = count / 1000
    for unit in ("kB", "MB", "GB"):
        if size < 999.95:
            return f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def human_seconds(seconds: float) -> str:
    """A duration.

    Examples:
        >>> human_seconds(75.2), human_seconds(3.14)
        ('1 min 15 s', '3.1 s')
    """
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest:.0f} s" if minutes else f"{rest:.1f} s"
