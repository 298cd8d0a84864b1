"""Settings for people and programs; secrets are masked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hfcal.config.settings import KEYS, Settings
from hfcal.core.ids import JsonObject

_SECRETS = ("key", "token", "secret", "password", "authorization")
MASK = "********"


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


def masked(table: Mapping[str, Any]) -> JsonObject:
    """A wake table with what may be a secret masked; names of files and variables are shown."""
    shown: JsonObject = {}
    for key, value in table.items():
        lowered = key.lower()
        named = lowered.endswith(("_file", "_env")) or lowered in {"file", "env"}
        if lowered == "headers":
            shown[key] = _headers(value)
        elif isinstance(value, Mapping):
            shown[key] = masked(value)
        elif lowered == "url":
            shown[key] = _origin(str(value))
        elif not named and any(word in lowered for word in _SECRETS):
            shown[key] = MASK
        else:
            shown[key] = value
    return shown


def _headers(value: object) -> object:
    """Headers: any may be a secret; where one comes from is none."""
    if not isinstance(value, Mapping):
        return MASK
    return {
        name: dict(given) if isinstance(given, Mapping) and set(given) < {"env", "file"} else MASK
        for name, given in value.items()
    }


def _origin(url: str) -> str:
    """A URL without what may be a secret in it: all but scheme, host and port."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return origin if parts.path in {"", "/"} and not parts.query else f"{origin}/{MASK}"


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
