"""hfcal: keeps HarborForge agents' calendars on any host."""

__version__ = "0.1.0"
