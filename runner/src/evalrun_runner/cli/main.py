"""Entry of the program: quiet on Ctrl-C from its first moment, and every error one message and an exit code.

Nothing heavy is imported here: ``--help`` and shell completion answer in the time of the interpreter and of click.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

    from evalrun_runner.driver.assembly import DriverOptions

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
_SHOW_CURSOR = b"\x1b[?25h"


def main(driver: DriverOptions | None = None) -> NoReturn:
    """Enter the program, and end it with an exit code.

    Args:
        driver: Settings of the driver process; the usual ones by default.
    """
    signal.signal(signal.SIGINT, _end_at_once)
    from click.exceptions import ClickException

    from evalrun_runner.cli.app import app

    try:
        code = app.main(prog_name="evalrun", standalone_mode=False, obj=driver)
        sys.stdout.flush()
    except ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read the output has enough of it (`| head`). Nothing is left to be written at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    # Whatever else happens is explained to the person in front of the screen.
    except Exception as error:  # noqa: BLE001
        sys.exit(_explained(error))
    sys.exit(code)


def _explained(error: Exception) -> int:
    """Print what went wrong, and return the exit code."""
    from evalrun_runner.cli.shadows import shadowing

    shadow = shadowing(error)
    ours = type(error).__module__.startswith("evalrun_")
    if shadow is not None and not ours:
        # Nothing more is imported: it may be what cannot be.
        print(f"evalrun: {shadow} ({type(error).__name__}: {error})", file=sys.stderr)
        return 1
    from evalrun_runner.cli.failures import explain

    return explain(error, shadow)


def end_now(line: str) -> NoReturn:
    """End the process at once, as if it was killed, with one line on stderr. Safe in a signal handler.

    An exception would not do: imports, finalizers and libraries that catch everything swallow it, or print it.
    """
    cursor = _SHOW_CURSOR if os.isatty(2) else b""
    os.write(2, cursor + line.encode() + b"\n")
    os._exit(INTERRUPTED)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    end_now("evalrun: interrupted")
