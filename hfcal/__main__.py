"""The `hfcal` command, also as `python -m hfcal`."""

import gc
import os
import signal
from typing import NoReturn

# Ctrl-C ends it without a traceback, until `main` can tell how it was stopped.
signal.signal(signal.SIGINT, signal.SIG_DFL)

# Most commands end before there is garbage worth looking for, and looking costs them 4 ms.
gc.set_threshold(100_000)

from hfcal.cli import main  # noqa: E402  # after the line above


def run() -> NoReturn:
    """Run the command and end the process with its exit code."""
    code = main()
    # Taking the interpreter apart would cost 8 ms more; `main` has written out all there is.
    os._exit(code)


if __name__ == "__main__":
    run()
