"""`hfcal sim`."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from hfcal.cli.options import global_options
from hfcal.errors import UsageError


def sim(
    context: typer.Context,
    port: int = typer.Option(0, min=0, max=65_535, help="Port; 0 for any free one."),
    scenario: str | None = typer.Option(
        None, metavar="FILE", help="What it holds, TOML or JSON; see docs/simulator.md."
    ),
) -> int:
    """Serve a simulated HarborForge calendar backend on loopback, until it is stopped.

    Its first line is its URL. It shows what it holds at GET /_sim/state.

    \b
    Example:
      hfcal sim --port 8000 --scenario scenario.toml
    """
    from hfcal.sim.scenario import ScenarioError, load_scenario, parse_scenario
    from hfcal.sim.server import run

    try:
        parsed = load_scenario(Path(scenario)) if scenario else parse_scenario({})
    except (ScenarioError, OSError) as error:
        raise UsageError(f"--scenario {scenario}: {error}") from error
    try:
        as_json = global_options(context).json
        return run(parsed, "127.0.0.1", port, sys.stdout, as_json=as_json)
    except OSError as error:
        raise UsageError(f"cannot listen on port {port}: {error.strerror}") from error
