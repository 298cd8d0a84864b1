r"""Changing one value in a TOML text: comments, order and line ends stay as they are.

The text is taken apart into statements: a key with its value, the head of a table, a comment, or an
empty line. Only those are changed, added or taken out that the value is in. Whether the new text
means what it should is asked of a TOML reader in the end.

Not by tomlkit, tried last with 0.15.2, one key set in place: it counts what stands above a table to
the table before, and ends new lines by LF among CRLF. `parse(text)["wake"]["parallel"] = 4` makes

    [wake]\r\n adapter = "print"\r\n \r\n # about x\r\n [agent.x.wake]\r\n adapter = "print"\r\n

of which the comment is about agent x, to

    [wake]\r\n adapter = "print"\r\n \r\n # about x\r\n parallel = 4\n [agent.x.wake]\r\n …
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
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
        table: The table that it stands in; of a head the one that it begins.
        path: All names that lead to a key's value; of a head its table's; else none.
    """

    text: str
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
        file = _Text(text, wanted)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"it is no valid TOML: {toml_fault(error)}") from error
    _put(wanted, path, value)
    file.set(path)
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
    """A text in its statements.

    Args:
        text: As it is.
        wanted: What it is to hold once all is set.
    """

    def __init__(self, text: str, wanted: dict[str, Any]) -> None:
        self.statements = list(_statements(text))
        self._wanted = wanted
        self._end = "\r\n" if "\r\n" in text else "\n"

    def set(self, path: Names) -> None:
        """Change what these names lead to where it is, or add it."""
        for key in self.statements:
            if len(key.path) > len(key.table) and key.path == path[: len(key.path)]:
                key.text = _with_value(key.text, self._value(key.path))
                return
        value = self._value(path)
        below = [s for s in self.statements if s.path and s.path[: len(path)] == path]
        if below and value and isinstance(value, dict):
            # Key by key, so that the comments in a table stay.
            deeper = [s for s in below if len(s.path) > len(path)]
            self._take_out([s for s in deeper if s.path[len(path)] not in value])
            for name in value:
                self.set((*path, name))
        else:
            self._take_out(below)
            self._add(path, value)

    def _value(self, path: Names) -> Any:
        return reduce(lambda table, name: table[name], path, self._wanted)

    def _take_out(self, statements: list[_Statement]) -> None:
        self.statements = [s for s in self.statements if s not in statements]

    def _add(self, path: Names, value: object) -> None:
        table, is_table = path[:-1], isinstance(value, dict)
        here = [at for at, s in enumerate(self.statements) if _is_directly_in(s, table)]
        if here and (table or not is_table):
            last = self.statements[here[-1]]
            self._insert(here[-1] + 1, [_line(path[len(last.table) :], value)], last.table)
        elif table or is_table:
            # A table goes to the end: elsewhere it might part a comment from what that is about.
            head, values = (path, value) if isinstance(value, dict) else (table, {path[-1]: value})
            lines = [""] if self.statements else []
            lines += [f"[{quoted(head)}]", *(_line((name,), values[name]) for name in values)]
            self._insert(len(self.statements), lines)
        else:
            self._add_first(_line(path, value))

    def _add_first(self, line: str) -> None:
        """The first key outside of all tables: above the first table and the comment on that."""
        at = next((at for at, s in enumerate(self.statements) if s.path == s.table != ()), None)
        if at is None:
            self._insert(len(self.statements), [line])
            return
        while at and self.statements[at - 1].text.lstrip().startswith("#"):
            at -= 1
        self._insert(at, [line, ""])

    def _insert(self, at: int, lines: list[str], table: Names = ()) -> None:
        if at and not self.statements[at - 1].text.endswith("\n"):
            self.statements[at - 1].text += self._end
        text = "".join(line + self._end for line in lines)
        self.statements[at:at] = _statements(text, table)


def _is_directly_in(statement: _Statement, table: Names) -> bool:
    """Whether it is the table's head, or one of its keys, and in no table below."""
    within = statement.path[: len(table)] == table and len(statement.table) <= len(table)
    return within and bool(statement.path)


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
            yield _Statement(statement, table, table)
        elif start in {"", "#"}:
            yield _Statement(statement, table)
        else:
            key = dotted(statement[: _equals(statement)]) or ()
            yield _Statement(statement, table, table + key)


def _equals(statement: str) -> int:
    """Where the `=` between key and value is; a quoted key may hold others."""
    signs = (sign.start() for sign in re.finditer("=", statement))
    return next(at for at in signs if dotted(statement[:at]))


def _with_value(text: str, value: object) -> str:
    """A key's text with another value."""
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
