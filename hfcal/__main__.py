"""`python -m hfcal` is the `hfcal` command."""

import sys

from hfcal.cli import main

if __name__ == "__main__":
    sys.exit(main())
