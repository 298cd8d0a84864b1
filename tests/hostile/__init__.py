"""Hostile answers: what a backend could send to harm its client, each as a trick with a name.

They are plugged into the simulator: `parse_scenario(document, TRICKS)`. docs/simulator.md, Tricks,
tells how one is played; docs/security.md lists them all with what hfcal does. A new trick is a
function in one of the modules here, and a row there. `python -m tests.hostile` is a simulator that
has them all.
"""

from hfcal.sim.tricks import Tricks
from tests.hostile.headers import HEADER_TRICKS
from tests.hostile.sizes import SIZE_TRICKS
from tests.hostile.texts import TEXT_TRICKS
from tests.hostile.wire import WIRE_TRICKS

TRICKS: Tricks = {**WIRE_TRICKS, **SIZE_TRICKS, **TEXT_TRICKS, **HEADER_TRICKS}
"""All tricks by their names."""
