"""Hostile answers: what a backend could send to harm its client, each as a trick with a name.

docs/simulator.md, Tricks, tells how one is played; docs/security.md lists them all with what hfcal
does. A new trick is a function in one of the modules here, and a row there.
"""

from hfcal.sim.hostile.call import Call, Trick
from hfcal.sim.hostile.headers import HEADER_TRICKS
from hfcal.sim.hostile.sizes import SIZE_TRICKS
from hfcal.sim.hostile.texts import TEXT_TRICKS
from hfcal.sim.hostile.wire import WIRE_TRICKS

__all__ = ["EACH", "TRICKS", "Call"]

TRICKS: dict[str, Trick] = {**WIRE_TRICKS, **SIZE_TRICKS, **TEXT_TRICKS, **HEADER_TRICKS}
"""All tricks by their names."""

EACH = "each"
"""In place of a trick's name: all of them in turn."""
