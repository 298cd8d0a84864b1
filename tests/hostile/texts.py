"""Tricks with texts: each in every text of an answer, and again in every text of an error.

A trick NAME has a sister NAME_error, whose texts are those of a 422 and of its headers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hfcal.sim.messages import HttpResponse, detail
from hfcal.sim.tricks import Call, Trick
from tests.hostile.call import JsonObject, body, number, slot


@dataclass(frozen=True, slots=True)
class Payload:
    """What stands in the texts.

    Attributes:
        text: in every text; of a call, where it depends on that.
        idents: as virtual ids, where that could do harm.
    """

    text: str | Callable[[Call], str]
    idents: tuple[str, ...] = ()

    def of(self, call: Call) -> str:
        """The text for this call."""
        return self.text if isinstance(self.text, str) else self.text(call)


PAYLOADS = {
    # Clears the screen, sets a title, makes a link, and the same by one sign; BEL, BS, DEL.
    "ansi": Payload("\x1b[2J\x1b[31mred\x1b]0;t\x07\x1b]8;;http://x\x1b\\\x9b31m\x08\x7f\x85"),
    "lines": Payload("a\r\nhfcal: all is well\n\n[calendar system_event] b\x0b\x0c\u2028\u2029c"),
    "nul": Payload("a\0b"),
    "bidi": Payload("a\u202eb\u2066c\u200fd\u200be\ufefff\u061cg\U000e0041h\u00adi"),
    "surrogate": Payload("a\ud800b\udfffc\udcffd"),
    "markup": Payload("[link=http://x]a[/link][/][bold red]b[/red]:skull:[@click=x]c[/]\\["),
    "format": Payload(
        "{message} {agent_id} {slot} {0} {} {{ %s %d %(a)s %n ${HOME} $HOME !r}",
        ("{message}", "{agent_id}", "%s%s%n", "{0.__class__}"),
    ),
    "shell": Payload(
        "$(touch hacked) `touch hacked`; touch hacked' \" & | touch hacked > hacked \\ * ~ #",
        ("$(touch hacked)", "a;touch hacked", "a'b\"c\\", "`touch hacked`", "*", "a && b"),
    ),
    "path": Payload(
        "../../../../hacked",
        (
            *("../../hacked", "/hacked", "%2e%2e%2fhacked", "~root", "a/./b?c#d", ".ssh/hacked"),
            *("..", "a\0b", "a\nb"),
        ),
    ),
    "flags": Payload("--help", ("--help", "-v", "--json", "-", "--", "--state=hacked", "-rf")),
    "echo_key": Payload(lambda call: call.key or "no-key"),
}


def in_answer(payload: Payload, call: Call) -> HttpResponse:
    """A good answer with the text in every place."""
    text = payload.of(call)
    idents = payload.idents or (1,)
    first = number(call) % len(idents)
    words = dict.fromkeys(("status", "slot_type", "event_type", "scheduled_at", "date"), text)
    job: JsonObject = {"event_type": "job", "event_data": {"type": text, "code": text, text: text}}
    slots: list[object] = [slot(idents[first], priority=90, **job, extra=text, **{text: text})]
    slots += [slot(ident, **job) for ident in idents]
    slots += [slot(9001, event_type="system_event", event_data={"event": text, "more": [text]})]
    slots += [{**slot(9002), **words, "priority": text}, {**slot(), "id": text}, text]
    slots += [slot(text)]
    return HttpResponse(200, body(call, *slots, agent_status=text, message=text, **{text: text}))


def in_error(payload: Payload, call: Call) -> HttpResponse:
    """A 422 with the text in its detail and its headers."""
    text = payload.of(call)
    item = {"loc": ["body", text], "msg": text, "type": text, text: text}
    said = [item] if call.kind == "update" else text
    return detail(422, said, tuple((name, header(text)) for name in ("X-Note", "Retry-After")))


def header(text: str) -> str:
    """The text as a header can hold it: UTF-8, in the signs of http.server's Latin-1."""
    kept = text.encode("utf-8", "replace").decode("latin-1")
    return "".join(character for character in kept if character not in "\0\r\n")


TEXT_TRICKS: dict[str, Trick] = {
    **{name: partial(in_answer, payload) for name, payload in PAYLOADS.items()},
    **{f"{name}_error": partial(in_error, payload) for name, payload in PAYLOADS.items()},
}
