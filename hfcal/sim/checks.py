"""Checks a request as FastAPI does: all that is wrong with it, in one 422.

docs/protocol.md, Errors, shows the shape.
"""

from collections.abc import Collection

from hfcal.sim.calendar import RefusalError
from hfcal.sim.messages import JSON, HttpRequest, read_json
from hfcal.sim.words import TIME_OF_DAY

LONGEST_DURATION = 1440


class Checks:
    """Reads a request's parts and collects what is wrong with them.

    A part that is wrong reads as an empty value; `done` then refuses the request.
    """

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._errors: list[dict[str, object]] = []
        self._body: dict[str, object] = {}

    def add(self, kind: str, loc: tuple[str, ...], msg: str, value: object = None) -> None:
        """Note an error of FastAPI's `type` and `msg` at a place such as `("body", "status")`."""
        self._errors.append({"type": kind, "loc": list(loc), "msg": msg, "input": value})

    def done(self) -> None:
        """Raise RefusalError with 422 if anything was wrong."""
        if self._errors:
            raise RefusalError(422, self._errors)

    def header(self, name: str) -> str:
        """Read a required header."""
        value = self._request.headers.get(name.lower())
        if value is None:
            self.add("missing", ("header", name), "Field required")
        return value or ""

    def query(self, name: str) -> str:
        """Read a required parameter of the query."""
        value = self._request.query.get(name)
        if value is None:
            self.add("missing", ("query", name), "Field required")
        return value or ""

    def path_id(self, text: str) -> int:
        """Read a slot's id in the path."""
        if not (text.isascii() and text.isdigit()) or len(text) > 19:
            self.add(
                "int_parsing",
                ("path", "slot_id"),
                "Input should be a valid integer, unable to parse string as an integer",
                text,
            )
            return 0
        return int(text)

    def body(self, known: Collection[str], *, ignore_extra: bool) -> None:
        """Read the body, a JSON object with these fields, which the methods below look into."""
        if not self._request.body:
            self.add("missing", ("body",), "Field required")
            return
        content_type = self._request.headers.get("content-type", "")
        if content_type.partition(";")[0].strip().lower() != JSON:
            self.add("content_type", ("header", "Content-Type"), f"Must be {JSON}", content_type)
            return
        try:
            document = read_json(self._request.body)
        except ValueError as error:
            self.add("json_invalid", ("body",), f"JSON decode error: {error}")
            return
        if not isinstance(document, dict):
            self.add("dict_type", ("body",), "Input should be a valid dictionary", document)
            return
        self._body = document
        if not ignore_extra:
            for key, value in document.items():
                if key not in known:
                    self.add(
                        "extra_forbidden", ("body", key), "Extra inputs are not permitted", value
                    )

    def text(self, name: str) -> str:
        """Read a required text of the body."""
        if name not in self._body:
            self.add("missing", ("body", name), "Field required")
            return ""
        value = self._body[name]
        if not isinstance(value, str):
            self.add("string_type", ("body", name), "Input should be a valid string", value)
            return ""
        return value

    def same(self, name: str, header: str, place: str = "body") -> str:
        """Read an id that a header and the body (or the query) must agree on."""
        errors = len(self._errors)
        value = self.header(header)
        other = self.text(name) if place == "body" else self.query(name)
        if len(self._errors) == errors and value != other:
            self.add("value_error", (place, name), f"Differs from the header {header}", other)
        return value

    def word(self, name: str, allowed: Collection[str]) -> str:
        """Read a required snake_case word of the body."""
        if name not in self._body:
            self.add("missing", ("body", name), "Field required")
            return ""
        value = self._body[name]
        if not isinstance(value, str) or value not in allowed:
            words = ", ".join(f"'{word}'" for word in allowed)
            self.add("enum", ("body", name), f"Input should be one of {words}", value)
            return ""
        return value

    def time_of_day(self, name: str) -> str | None:
        """Read an optional time of day of the body and return it as `HH:MM:SS`."""
        value = self._body.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not TIME_OF_DAY.fullmatch(value):
            self.add("time_parsing", ("body", name), "Input should be HH:MM or HH:MM:SS", value)
            return None
        return f"{value}:00"[:8]

    def minutes(self, name: str) -> int | None:
        """Read an optional duration of the body, 1 to 1440 minutes."""
        value = self._body.get(name)
        if value is None:
            return None
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not isinstance(value, int) or not whole or not 1 <= value <= LONGEST_DURATION:
            self.add(
                "int_range",
                ("body", name),
                f"Input should be a whole number from 1 to {LONGEST_DURATION}",
                value,
            )
            return None
        return value
