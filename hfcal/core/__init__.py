"""Pure rules and records: no file, no network, no clock; the moment is an argument."""
