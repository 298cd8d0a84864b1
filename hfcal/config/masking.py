"""Secrets in settings, masked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from hfcal.core.ids import JsonObject
from hfcal.text import MASK

_SECRETS = ("key", "token", "secret", "password", "authorization")


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
