"""Changing one value in a TOML text: comments, order and line ends stay as they are.

The text is taken apart into statements: a key with its value, the head of a table, a comment, or an
empty line. Only those are changed, added or taken out that the value is in. Whether the new text
means what it should is asked of a TOML reader in the end.

Not by tomlkit: it counts a comment above a table to the table before, loses it when that one is
changed, and ends new lines by LF among CRLF.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hfcal.config.values import toml_fault
from hfcal.errors import ConfigError, UsageError

Names = tuple[str, ...]

_MAY_END = r"[\]}]|\"{3}|'{3}"  # a value of several lines


@dataclass(eq=False)
class _Statement:
    """One statement, of one line or several, with its line end.

    Attributes:
        text: As it stands in the file.
        kind: `key`, `head`, `comment` or `blank`.
        table: The table that it stands in; of a head the one that it begins.
        path: All names that lead to the key's value; of a head the table's; else none.
    """

    text: str
    kind: str
    table: Names
    path: Names = ()


def changed(text: str, path: Names, value: object) -> str:
    """The text with the value that these names lead to set; a table becomes the one that is given.

    Raises:
        ConfigError: The text is no TOML.
        UsageError: The names lead through what is no table, or it can't be set.
    """
    try:
        wanted = tomllib.loads(text)
        file = _Text(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"it is no valid TOML: {toml_fault(error)}") from error
    _put(wanted, path, value)
    file.set(path, value)
    result = "".join(statement.text for statement in file.statements)
    if _meaning(result) != wanted:
        raise UsageError(f"{quoted(path)} can't be set in a file like this; edit it by hand")
    return result


def dotted(key: str) -> Names | None:
    """The names in a dotted key, unquoted; None if it is no key."""
    found = [_walk(_meaning(text)) for text in (f"{key} = 0", f"[{key}]")]
    # Both ways, as a text may hold more than a key, such as `a = 0 #`.
    return found[0] if found[0] == found[1] and found[0] else None


def quoted(path: Names) -> str:
    """Names as a dotted key, quoted where they have to be."""
    import tomli_w

    return ".".join(tomli_w.dumps({name: 0}).removesuffix(" = 0\n") for name in path)


def written(value: object) -> str:
    """A value as TOML, on one line.

    Raises:
        ValueError: It is a number of too many digits.
    """
    import tomli_w

    if isinstance(value, dict):
        pairs = [f"{quoted((name,))} = {written(inner)}" for name, inner in value.items()]
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    return tomli_w.dumps({"v": value}).removeprefix("v = ").removesuffix("\n")


class _Text:
    """A text in its statements."""

    def __init__(self, text: str) -> None:
        self.statements = list(_statements(text))
        self._end = "\r\n" if "\r\n" in text else "\n"

    def set(self, path: Names, value: object) -> None:
        """Change the value where it is, or add it."""
        for statement in self.statements:
            if statement.kind == "key" and statement.path == path[: len(statement.path)]:
                statement.text = _with_value(statement, path, value)
                return
        below = [s for s in self.statements if s.path and s.path[: len(path)] == path]
        if below and value and isinstance(value, dict):
            # Key by key, so that the comments in a table stay.
            deeper = [s for s in below if len(s.path) > len(path)]
            self._take_out([s for s in deeper if s.path[len(path)] not in value])
            for name, inner in value.items():
                self.set((*path, name), inner)
            return
        self._take_out(below)
        self._add(path, value)

    def _take_out(self, statements: list[_Statement]) -> None:
        self.statements = [s for s in self.statements if s not in statements]

    def _add(self, path: Names, value: object) -> None:
        table = path[:-1]
        here = [at for at, s in enumerate(self.statements) if _is_directly_in(s, table)]
        if isinstance(value, dict) and not (table and here):
            self._add_table(path, value)
        elif here:
            last = self.statements[here[-1]]
            line = _line(path[len(last.table) :], value)
            self._insert(here[-1] + 1, [line], last.table)
        elif table:
            self._add_table(table, {path[-1]: value})
        else:
            self._add_first(path, value)

    def _add_table(self, path: Names, values: dict[str, object]) -> None:
        """At the end: anywhere else it might part a comment from what that is about."""
        lines = [f"[{quoted(path)}]", *(_line((name,), value) for name, value in values.items())]
        self._insert(len(self.statements), ["", *lines] if self.statements else lines)

    def _add_first(self, path: Names, value: object) -> None:
        """The first key outside of all tables: above the first table and the comment on that."""
        heads = [at for at, s in enumerate(self.statements) if s.kind == "head"]
        if not heads:
            self._insert(len(self.statements), [_line(path, value)])
            return
        at = heads[0]
        while at and self.statements[at - 1].kind == "comment":
            at -= 1
        self._insert(at, [_line(path, value), ""])

    def _insert(self, at: int, lines: list[str], table: Names = ()) -> None:
        if at and not self.statements[at - 1].text.endswith("\n"):
            self.statements[at - 1].text += self._end
        text = "".join(line + self._end for line in lines)
        self.statements[at:at] = _statements(text, table)


def _is_directly_in(statement: _Statement, table: Names) -> bool:
    """Whether it is the table's head, or one of its keys, and in no table below."""
    within = statement.path[: len(table)] == table and len(statement.table) <= len(table)
    return within and statement.kind in {"key", "head"}


def _line(path: Names, value: object) -> str:
    return f"{quoted(path)} = {written(value)}"


def _statements(text: str, table: Names = ()) -> Iterator[_Statement]:
    """A text's statements; the first ones stand in `table`."""
    lines = iter(re.findall(r"[^\n]*\n|[^\n]+", text))
    for line in lines:
        statement = line
        while _meaning(statement) is None:  # its value goes on
            more = next(lines)
            while not re.search(_MAY_END, more):
                more += next(lines)
            statement += more
        start = statement.lstrip()[:1]
        if start == "[":
            table = _walk(_meaning(statement))
            yield _Statement(statement, "head", table, table)
        elif start in {"", "#"}:
            yield _Statement(statement, "comment" if start else "blank", table)
        else:
            key = dotted(statement[: _equals(statement)]) or ()
            yield _Statement(statement, "key", table, table + key)


def _equals(statement: str) -> int:
    """Where the `=` between key and value is; a quoted key may hold others."""
    signs = (sign.start() for sign in re.finditer("=", statement))
    return next(at for at in signs if dotted(statement[:at]))


def _with_value(statement: _Statement, path: Names, value: object) -> str:
    """A key's text with another value, or with one changed in its inline table."""
    text, inner = statement.text, path[len(statement.path) :]
    if inner:
        whole = _meaning(text)
        _put(whole, path[len(statement.table) :], value)
        for name in statement.path[len(statement.table) :]:
            whole = whole[name]
        value = whole
    begin = _equals(text) + 1
    marks = (mark.start() for mark in re.finditer("#", text))
    end = next((at for at in marks if at > begin and _meaning(text[:at])), len(text))
    old = text[begin:end]
    before, after = old[: -len(old.lstrip())], old[len(old.rstrip()) :]
    return f"{text[:begin]}{before}{written(value)}{after}{text[end:]}"


def _put(place: Any, path: Names, value: object) -> None:
    *tables, last = path
    for name in tables:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise UsageError(f"{quoted(path)}: {name} is no table")
    place[last] = value


def _meaning(text: str) -> Any:
    """What a text holds; None if it is no TOML."""
    try:
        return tomllib.loads(text)
    except ValueError:
        return None


def _walk(inner: Any) -> Names:
    """The names that lead through tables of one key each."""
    names: list[str] = []
    while isinstance(inner, dict) and len(inner) == 1:
        ((name, inner),) = inner.items()
        names.append(name)
        if isinstance(inner, list):  # [[name]]
            inner = inner[0]
    return tuple(names)
