"""TAB in real shells on terminals of their own, which ask the real `hfcal _complete`."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host
from tests.rig.host import PATH
from tests.rig.needs import needs
from tests.rig.terminal import Terminal
from tests.rig.waiting import wait_until

SCRIPTS = Path(__file__).parents[2] / "completions"
CTRL_B = b"\x02"
CTRL_U = b"\x15"
# An agent id that would leave a file `ran` behind, if any shell ran a part of it.
HOSTILE = "x$(touch${IFS}ran)`touch${IFS}ran`;touch${IFS}ran&'(touch$IFS'ran')\""

pytestmark = pytest.mark.skipif(not SCRIPTS.exists(), reason="not in a checkout")

# Answers TAB as hfcal does, and otherwise only notes its words, one command a line.
HFCAL = """\
#!/bin/sh
if [ "$1" = _complete ]; then exec {python} -m hfcal "$@"; fi
{{ printf '%s\\t' "$@"; echo; }} >> {noted}
"""
BASH = "PS1='ready> '; source {scripts}/hfcal.bash\n"
ZSH = """\
PS1='ready> '
fpath=({scripts} $fpath)
autoload -Uz compinit
compinit -u -d ~/.zcompdump
"""
FISH = "function fish_prompt; echo -n 'ready> '; end; source {scripts}/hfcal.fish\n"


class Shell:
    """An interactive shell that knows hfcal's completions."""

    def __init__(self, name: str, terminal: Terminal, noted: Path) -> None:
        self.name = name
        self._terminal = terminal
        self._noted = noted
        self._ran = 0

    def tab(self, before: str, after: str = "") -> list[str]:
        """The words that hfcal gets after TAB between these parts of a line, and Enter."""
        self._terminal.type((before + after).encode() + CTRL_B * len(after) + b"\t\r")
        self._ran += 1

        def has_run() -> bool:
            self._terminal.shows()  # reads on, or the shell would wait to write
            return len(self._lines()) == self._ran

        wait_until(has_run, what=f"{before}{after}: {self._terminal.text}")
        return self._lines()[-1].split("\t")[:-1]

    def only_tab(self, line: str) -> None:
        """TAB after this line, which is taken away before anything is run."""
        self._terminal.type(line.encode() + b"\t" + CTRL_U)

    def _lines(self) -> list[str]:
        return self._noted.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def host(make_backend: MakeBackend, make_host: MakeHost) -> Host:
    """A host whose usual state knows nothing; `~/other.json` and `~/my state.json` know slots."""
    agents = ["developer", "normal:tick", "normal=tock", HOSTILE]
    slots = [{"agent": "developer", "id": 57}, {"agent": "normal:tick", "id": 41}]
    host = make_host(make_backend(agents=agents, slots=slots), *agents)
    host.ok("tick", "--state", "~/other.json")
    shutil.copy(host.home / "other.json", host.home / "my state.json")
    (host.home / "other.toml").write_text('state_file = "~/other.json"\n', encoding="utf-8")
    return host


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest, host: Host) -> Iterator[Shell]:
    """Each shell in turn."""
    name: str = request.param
    found = needs(name)
    noted = host.root / "noted"
    noted.touch()
    hfcal = host.root / "bin" / "hfcal"
    hfcal.parent.mkdir()
    python = shlex.quote(sys.executable)
    hfcal.write_text(HFCAL.format(python=python, noted=shlex.quote(str(noted))), encoding="utf-8")
    hfcal.chmod(0o755)
    scripts = shlex.quote(str(SCRIPTS))
    (host.home / ".bashrc").write_text(BASH.format(scripts=scripts), encoding="utf-8")
    (host.home / ".zshrc").write_text(ZSH.format(scripts=scripts), encoding="utf-8")
    fish = FISH.format(scripts=scripts)
    words = {"bash": ["-i"], "zsh": ["-di"], "fish": ["--no-config", "-i", "-C", fish]}
    # A dumb terminal answers no questions, and so is asked none.
    extra = {"TERM": "dumb", "LANG": "C.UTF-8", "PATH": f"{hfcal.parent}:{PATH}"}
    environment = host.environment(**extra)
    terminal = Terminal([found, *words[name]], environment, 200, host.root)
    try:
        terminal.shows("ready> ")
        yield Shell(name, terminal, noted)
    finally:
        terminal.close()


def test_slots_and_agents_are_those_of_the_state_that_the_line_names(
    host: Host, shell: Shell
) -> None:
    """`--state` and `--config`, on either side of the subcommand, in one word or two, quoted."""
    quoted = f"'{host.home}/my state.json'"
    for line in (
        "hfcal complete --state ~/other.json --slot 5",
        "hfcal complete --state=~/other.json --slot 5",
        "hfcal --state ~/other.json complete --slot 5",
        "hfcal --state=~/other.json -v complete --slot 5",
        "hfcal complete --config ~/other.toml --slot 5",
        "hfcal --config=~/other.toml complete --slot 5",
        "hfcal complete --summary 'in a hurry' --state ~/my\\ state.json --slot 5",
        f"hfcal complete --summary foo: --state={quoted} --slot 5",
    ):
        assert (line, shell.tab(line)[-1]) == (line, "57")
    assert shell.tab("hfcal complete --state ~/other.json --slot=5")[-1] == "--slot=57"
    assert shell.tab("hfcal complete --slot 5")[-1] == "5"
    assert shell.tab("hfcal --state ~/no.json complete --slot 5")[-1] == "5"
    assert shell.tab("hfcal forget --state ~/other.json dev")[-1] == "developer"


def test_with_agent_only_its_slots_are_offered(shell: Shell) -> None:
    """So that one is left, and TAB writes it."""
    for verb in ("complete", "abort", "pause", "resume"):
        for agent, slot in (("normal:tick", "41"), ("developer", "57")):
            for words in (f"--agent {agent} {verb}", f"{verb} --agent={agent}"):
                line = f"hfcal --state ~/other.json {words} --slot "
                assert (line, shell.tab(line)[-1]) == (line, slot)


def test_what_stands_after_the_cursor_counts(shell: Shell) -> None:
    """The options may be there already when the slot is filled in."""
    if shell.name == "fish":
        pytest.skip("fish shows completions only what stands before the cursor")
    ran = shell.tab("hfcal complete --slot ", " --agent=normal:tick --state=~/other.json")
    assert ran == ["complete", "--slot", "41", "--agent=normal:tick", "--state=~/other.json"]


def test_words_with_colons_and_equals_signs_complete(shell: Shell) -> None:
    """At which readline cuts words."""
    for typed, word in (
        ("--agent normal:t", "normal:tick"),
        ("--agent normal:", "normal:tick"),
        ("--agent normal=t", "normal=tock"),
        ("--agent=normal:t", "--agent=normal:tick"),
        ("--agent=normal=", "--agent=normal=tock"),
        ("--agent=d", "--agent=developer"),
        ('--agent "normal:t', "normal:tick"),
        ("--agent='normal=t", "--agent=normal=tock"),
        ("--agent normal\\:t", "normal:tick"),
        ("--agent developer --agent normal:t", "normal:tick"),
        ("--reason developer: --agent normal:t", "normal:tick"),
    ):
        line = f"hfcal hold --state ~/other.json {typed}"
        assert (line, shell.tab(line)[-1]) == (line, word)
    assert shell.tab("hfcal forget --state ~/other.json normal:t")[-1] == "normal:tick"
    assert shell.tab("hfcal status --log-format=j")[-1] == "--log-format=json"


@pytest.mark.parametrize(
    "breaks", ["COMP_WORDBREAKS=${COMP_WORDBREAKS//=/}", "COMP_WORDBREAKS=' '"]
)
def test_bash_may_cut_words_elsewhere(shell: Shell, breaks: str) -> None:
    """As some other package's completion has it."""
    if shell.name != "bash":
        pytest.skip("only bash has COMP_WORDBREAKS")
    shell.tab(f"{breaks}; hfcal status")
    for typed in ("normal:tick", "normal=tock", "developer"):
        for option in ("--agent ", "--agent="):
            ran = shell.tab(f"hfcal hold --state=~/other.json {option}{typed[:-2]}")
            assert ran[-1] == f"{option}{typed}".strip().split(" ")[-1]
    assert shell.tab("hfcal hold --config=~/other.t")[-1].endswith("/other.toml")


def test_files_complete_in_bash(host: Host, shell: Shell) -> None:
    """After `=` as well as after a blank, with a space or a colon in the name."""
    if shell.name != "bash":
        pytest.skip("zsh and fish complete files by themselves")
    (host.home / "a:b").touch()
    for typed, word in (
        ("--state ~/my", f"{host.home}/my state.json"),
        ("--state ~/my\\ st", f"{host.home}/my state.json"),
        (f"--state={host.home}/my", f"--state={host.home}/my state.json"),
        (f"--state {host.home}/a:", f"{host.home}/a:b"),
        (f"--state={host.home}/a:", f"--state={host.home}/a:b"),
    ):
        assert (typed, shell.tab(f"hfcal status {typed}")[-1]) == (typed, word)


@pytest.mark.promise_10
def test_nothing_typed_or_remembered_is_run(host: Host, shell: Shell) -> None:
    """What looks like a command in a word, or in an agent id, is only text to TAB."""
    for typed in (
        "'$(touch ran)'",
        "$(touch ran)",
        "`touch ran`",
        '"`touch ran`$(touch ran)"',
        "(touch ran)",
        "'(touch ran)'",
        "'*(e:touch ran:)'",
        "'a[$(touch ran)]'",
        "';touch ran;'",
    ):
        shell.only_tab(f"hfcal complete --state {typed} --config {typed} --agent {typed} --slot ")
        shell.only_tab(f"hfcal complete --state={typed} --agent={typed} --agent ")
        assert shell.tab("hfcal hold") == ["hold"]  # it has done with what was typed before
    assert shell.tab("hfcal hold --state ~/other.json --agent x")[-1] == HOSTILE
    assert shell.tab("hfcal hold --state ~/other.json --agent=x")[-1] == f"--agent={HOSTILE}"
    assert not (host.root / "ran").exists()
