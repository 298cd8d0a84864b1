"""Chaos: many hfcal processes, random kills and faults; then every promise is checked."""
