"""`hfcal config set` in files that people wrote: a comment stays with what it is about."""

from __future__ import annotations

import tomllib

import pytest

from tests.e2e.conftest import MakeHost

COMMENTED = """# mine
agents = ["developer"]  # the only one

# how they are woken
[wake]
# without a shell
adapter = "command"  # the usual
command = [
  "/bin/true",  # does nothing
]
timeout = "9s"

# about one agent
[agent.operator.wake]
adapter = "print"

# at the end
"""
HEADERS = '[wake]\nadapter = "webhook"\nurl = "http://127.0.0.1/"\n\n[wake.headers]\nA = "b"\n\n'
THEIRS = '# theirs\n[agent.x.wake]\nadapter = "print"\n'
DOTTED = 'wake.adapter = "command"\nwake.command = ["/bin/true"]\n'
ROOTLESS = '# hfcal here\n\n# how they are woken\n[wake]\nadapter = "print"\n'
NEW_TABLE = '\n[agent.tester.wake]\nadapter = "print"\n'

CASES = {
    "a whole table": (
        COMMENTED,
        ("wake", '{adapter = "webhook", url = "http://127.0.0.1/", headers = {"X-A" = "b"}}'),
        COMMENTED.replace('"command"  #', '"webhook"  #')
        .replace('command = [\n  "/bin/true",  # does nothing\n]\n', "")
        .replace('"9s"\n', '"9s"\nurl = "http://127.0.0.1/"\nheaders = {X-A = "b"}\n')
        .replace('timeout = "9s"\n', ""),
    ),
    "a whole table with one below": (
        HEADERS + THEIRS,
        ("wake", '{adapter = "print"}'),
        '[wake]\nadapter = "print"\n\n\n' + THEIRS,
    ),
    "a new table": (COMMENTED, ("agent.tester.wake.adapter", "print"), COMMENTED + NEW_TABLE),
    "a new table, others before [wake]": (
        '[agent.x.wake]\nadapter = "print"\n\n# all others\n[wake]\nadapter = "print"\n',
        ("agent.tester.wake.adapter", "print"),
        '[agent.x.wake]\nadapter = "print"\n\n# all others\n[wake]\nadapter = "print"\n'
        + NEW_TABLE,
    ),
    "a whole new table": (
        COMMENTED,
        ("agent.tester.wake", '{adapter = "print"}'),
        COMMENTED + NEW_TABLE,
    ),
    "a value of several lines": (
        COMMENTED,
        ("wake.command", '["/bin/false"]'),
        COMMENTED.replace('[\n  "/bin/true",  # does nothing\n]', '["/bin/false"]'),
    ),
    "a value before a comment": (
        COMMENTED,
        ("agents", "a#b, c"),
        COMMENTED.replace('["developer"]', '["a#b", "c"]'),
    ),
    "no root key": (
        ROOTLESS,
        ("history_cap", "5"),
        ROOTLESS.replace("# how", "history_cap = 5\n\n# how"),
    ),
    "no root key, one comment": (
        ROOTLESS.partition("\n\n")[2],
        ("history_cap", "5"),
        "history_cap = 5\n\n" + ROOTLESS.partition("\n\n")[2],
    ),
    "no root key, a comment of its own": (
        '# hfcal here\n\n[wake]\nadapter = "print"\n',
        ("history_cap", "5"),
        '# hfcal here\n\nhistory_cap = 5\n\n[wake]\nadapter = "print"\n',
    ),
    "a comment alone": ("# mine\n", ("history_cap", "5"), "# mine\nhistory_cap = 5\n"),
    "no end of the last line": (
        "history_cap = 5\ndue_check = true",
        ("group", "0"),
        "history_cap = 5\ndue_check = true\ngroup = 0\n",
    ),
    "dotted keys": (
        f"{DOTTED}\n# the rest\nhistory_cap = 5\n",
        ("wake.timeout", "5s"),
        f'{DOTTED}wake.timeout = "5s"\n\n# the rest\nhistory_cap = 5\n',
    ),
}


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("case", CASES)
def test_comments_order_and_line_ends_stay(
    case: str, end: str, make_host: MakeHost, dead_url: str
) -> None:
    """Whatever is set, each line that is not about it is as it was, and in its place."""
    before, words, wanted = CASES[case]
    host = make_host(dead_url)
    host.config.write_bytes(before.replace("\n", end).encode())
    host.ok("config", "set", *words)
    assert host.config.read_bytes().decode() == wanted.replace("\n", end)
    tomllib.loads(wanted)
