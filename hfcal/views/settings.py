"""Settings for people and programs; secrets are masked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hfcal.config.masking import masked
from hfcal.config.settings import KEYS, Settings
from hfcal.core.ids import JsonObject
from hfcal.text import MASK


def settings_document(settings: Settings) -> JsonObject:
    """`config show --json`."""
    return {
        "config_file": str(settings.config_file) if settings.config_file else None,
        "settings": {
            name: {"value": _value(settings, name), "source": _source(settings, name)}
            for name in KEYS
        },
        "wake": masked(settings.wake) if settings.wake is not None else None,
        "agent": {agent: {"wake": masked(t)} for agent, t in settings.agent_wakes.items()},
    }


def settings_lines(settings: Settings) -> list[str]:
    """`config show`, a line for each setting."""
    lines = [f"config file: {settings.config_file or 'none'}"]
    width = max(map(len, KEYS))
    for name in KEYS:
        value = _value(settings, name)
        shown = "-" if value is None or value in ("", []) else _shown(value)
        lines.append(f"{name:<{width}}  {shown}  ({_source(settings, name)})")
    tables: dict[str, Mapping[str, Any]] = {}
    if settings.wake is not None:
        tables["wake"] = settings.wake
    tables |= {f"agent.{agent}.wake": table for agent, table in settings.agent_wakes.items()}
    for name, table in tables.items():
        lines.append(f"[{name}]")
        lines += [f"  {key} = {_shown(value)}" for key, value in masked(table).items()]
    return lines


def _value(settings: Settings, name: str) -> object:
    value = getattr(settings, name)
    if name == "api_key":
        return MASK if value else None
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _source(settings: Settings, name: str) -> str:
    if name == "api_key" and settings.api_key and name not in settings.sources:
        return "api_key_file"
    return settings.sources.get(name, "default")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
