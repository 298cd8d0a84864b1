"""The `hfcal` command: options, exit codes, one small module per command."""

from hfcal.cli.app import main

__all__ = ["main"]
