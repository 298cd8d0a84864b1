"""A simulated HarborForge calendar backend on a loopback port: docs/simulator.md.

It keeps the rules of docs/protocol.md strictly and offers what that page leaves open as
switches. Only `hfcal sim`, `hfcal demo` and tests import it; it uses the standard library
alone and nothing of the rest of hfcal, so an error in hfcal's own reading of the protocol
can't hide here.
"""
