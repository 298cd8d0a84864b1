"""Records to JSON and back; what can't be a record is an error that names its place.

Fields that hold their default are left out of the file. The file is input like any other: every
value is checked, so that nothing odd in it surfaces later as a bug.
"""

from __future__ import annotations

import json
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

from hfcal.clock import EARLIEST, FARTHEST
from hfcal.core import records
from hfcal.core.ids import SlotRef, valid_agent_id, valid_real_id, valid_virtual_id
from hfcal.core.records import KEY, SCHEMA, State, Update
from hfcal.text import strict_json

_Record = TypeVar("_Record")
_Decoder = Callable[[Any, str], Any]

_DEEPEST = 64  # levels of what a backend listed; hfcal keeps fewer
_STATUSES = {"ongoing", "paused", "finished", "aborted"}


class NewerSchemaError(ValueError):
    """The file was written by a newer hfcal."""


def encode_state(state: State) -> bytes:
    """The state as the bytes of its file."""
    document = {"schema": SCHEMA, **encode(state)}
    text = json.dumps(document, default=encode, separators=(",", ":"), check_circular=False)
    return text.encode("ascii") + b"\n"


def decode_state(content: bytes) -> State:
    """The state from the bytes of its file.

    Raises:
        NewerSchemaError: Its schema is newer than this hfcal's.
        ValueError: It is no state.
    """
    document = parse(content)
    schema = document.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise ValueError("it has no schema number")
    if schema > SCHEMA:
        raise NewerSchemaError(f"schema {schema}, and this hfcal knows up to {SCHEMA}")
    state = decode(State, document)
    for agent_id in state.agents:
        if not valid_agent_id(agent_id):
            raise ValueError("agents: an agent id that can't be one")
    numbers = [u.number for a in state.agents.values() for u in a.queue]
    if len(set(numbers)) != len(numbers) or any(n >= state.next_number for n in numbers):
        raise ValueError("queue: numbers of updates repeat")
    return state


def encode(record: object) -> dict[str, Any]:
    """The fields of a record that don't hold their default; records inside stay as they are.

    `json.dumps` asks again for those, which is twice as fast as doing it here.
    """
    values = vars(record)
    kind: Any = type(record)
    return {
        key: values[name]
        for name, key, default in _defaults(kind)
        if values[name] is not default and values[name] != default
    }


def decode(cls: type[_Record], document: object, where: str = "") -> _Record:
    """The record of `cls` that `document` holds; unknown fields are passed over.

    Raises:
        ValueError: A field is missing or has the wrong type; names the place.
    """
    if not isinstance(document, dict):
        raise ValueError(f"{where or cls.__name__}: not an object")  # noqa: TRY004
    prefix = f"{where}." if where else ""
    values: dict[str, Any] = {}
    kind: Any = cls
    for name, key, decoder in _decoders(kind):
        if key in document:
            values[name] = decoder(document[key], prefix + key)
    try:
        record = cls(**values)
    except TypeError:
        raise ValueError(f"{where or cls.__name__}: a field is missing") from None
    _check(record, where)
    return record


def parse(content: bytes) -> dict[str, Any]:
    """The JSON object that the file holds.

    Raises:
        ValueError: It holds none.
    """
    document = strict_json(content)
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  # one kind for all damage
    return document


def _check(record: object, where: str) -> None:
    """What types alone don't say."""
    if isinstance(record, SlotRef) and not (
        record.idents
        and all(map(valid_real_id, record.real))
        and all(map(valid_virtual_id, record.virtual))
    ):
        raise ValueError(f"{where}: not the ids of a slot")
    if isinstance(record, Update) and record.status not in _STATUSES:
        raise ValueError(f"{where}: no status that an update can have")


@cache
def _defaults(cls: Any) -> list[tuple[str, str, Any]]:
    found = []
    for item in fields(cls):
        factory = item.default_factory
        default = item.default if factory is MISSING else factory()
        found.append((item.name, item.metadata.get(KEY, item.name), default))
    return found


@cache
def _decoders(cls: Any) -> list[tuple[str, str, _Decoder]]:
    names = {**vars(records), **vars(sys.modules[cls.__module__])}
    hints = typing.get_type_hints(cls, names)
    return [
        (item.name, item.metadata.get(KEY, item.name), _decoder(hints[item.name]))
        for item in fields(cls)
    ]


def _decoder(hint: Any) -> _Decoder:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return _optional(_decoder(next(arg for arg in args if arg is not types.NoneType)))
    if origin is list:
        return _list_of(_decoder(args[0]))
    if origin is dict:
        return _dict_of(_anything if args[1] is Any else _decoder(args[1]))
    if hint is float:
        return _number
    if hint is int:
        return _count
    if is_dataclass(hint):
        return lambda value, where: decode(typing.cast("type[Any]", hint), value, where)
    if issubclass(hint, StrEnum):
        return _word_of(hint)
    return _exactly(hint)


def _optional(inner: _Decoder) -> _Decoder:
    return lambda value, where: None if value is None else inner(value, where)


def _list_of(inner: _Decoder) -> _Decoder:
    def decode_list(value: Any, where: str) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError(f"{where}: not a list")  # noqa: TRY004
        return [inner(item, f"{where}[{index}]") for index, item in enumerate(value)]

    return decode_list


def _dict_of(inner: _Decoder) -> _Decoder:
    def decode_dict(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"{where}: not an object")  # noqa: TRY004
        return {key: inner(item, f"{where}.{key}") for key, item in value.items()}

    return decode_dict


def _word_of(words: type[StrEnum]) -> _Decoder:
    def decode_word(value: Any, where: str) -> StrEnum:
        try:
            return words(value)
        except ValueError:
            raise ValueError(f"{where}: not one of {', '.join(words)}") from None

    return decode_word


def _exactly(cls: type) -> _Decoder:
    def decode_exactly(value: Any, where: str) -> Any:
        if type(value) is not cls:
            raise ValueError(f"{where}: not {cls.__name__}")
        return value

    return decode_exactly


def _number(value: Any, where: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and EARLIEST <= value <= FARTHEST:
        return float(value)
    raise ValueError(f"{where}: not a number in range")


def _count(value: Any, where: str) -> int:
    if type(value) is int and 0 <= value < 1 << 64:
        return value
    raise ValueError(f"{where}: not a whole number in range")


def _anything(value: Any, where: str, level: int = 0) -> Any:
    if level > _DEEPEST:
        raise ValueError(f"{where}: nested too deep")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        _anything(item, where, level + 1)
    return value


__all__ = [
    "NewerSchemaError",
    "decode",
    "decode_state",
    "encode",
    "encode_state",
    "parse",
]
