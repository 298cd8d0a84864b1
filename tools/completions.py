"""Write the completion scripts in completions/ from the app itself.

The scripts are static, but for agent ids and slots, which `hfcal _complete` reads from the state.

    python tools/completions.py            writes them
    python tools/completions.py --check    exits 1, with a diff, when they are not current
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from generated import ROOT, write_or_check

from hfcal.cli.app import make_app

DIRECTORY = ROOT / "completions"
HEAD = "made by tools/completions.py; change that, not this file."

# What an option's value may be, where the app's own help only says it in words.
_FILES = {"PATH", "FILE"}
_CHOICES = {"--log-format": ("text", "json")}
# What `hfcal _complete` lists, by what a value is called: for an option, and for an argument.
_KNOWN_OPTIONS = {"ID": "agents", "IDENT": "active"}
_KNOWN_ARGUMENTS = {"AGENT": "agents", "IDENT": "queued"}
# What `hfcal _complete` is told of the line: which state file it is, and whose slots are wanted.
# Always as text that no shell runs or expands; a leading ~ hfcal expands itself.
_TOLD = ("--config", "--state", "--agent")


@dataclass(frozen=True)
class Option:
    """One option of a command.

    Attributes:
        names: Such as `-v` and `--verbose`.
        help: What it does, in one line.
        value: What its value is called, such as `PATH`; empty for a flag.
        choices: The values that there are, if they are few.
        repeatable: Whether it may be given more than once.
    """

    names: tuple[str, ...]
    help: str
    value: str = ""
    choices: tuple[str, ...] = ()
    repeatable: bool = False

    @property
    def files(self) -> bool:
        """Whether its value is a file."""
        return self.value in _FILES

    @property
    def known(self) -> str:
        """Which idents its value may be, if the state file tells."""
        return _KNOWN_OPTIONS.get(self.value, "")


@dataclass(frozen=True)
class Command:
    """One command, or the root.

    Attributes:
        path: Its words after `hfcal`; empty for the root.
        help: What it does, in one line.
        options: Its options, in the order of its help.
        children: Its subcommands.
        known: Which idents its first argument may be, if the state file tells.
    """

    path: tuple[str, ...]
    help: str
    options: tuple[Option, ...]
    children: tuple[Command, ...]
    known: str = ""

    @property
    def words(self) -> str:
        """Its words as typed."""
        return " ".join(self.path)

    def walk(self) -> Iterator[Command]:
        """It and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()

    def valued(self) -> list[str]:
        """The options that take a value, of it and of all below it."""
        found = {
            name: None
            for command in self.walk()
            for option in command.options
            if option.value
            for name in option.names
        }
        return list(found)


def read_app() -> Command:
    """The whole app."""
    return _read(make_app(), None, ())


def _read(command: Any, parent: Any, path: tuple[str, ...]) -> Command:
    context = typer.Context(command, parent=parent, info_name=path[-1] if path else "hfcal")
    names = command.list_commands(context) if hasattr(command, "list_commands") else ()
    params = [p for p in command.get_params(context) if not p.hidden]
    options = [p for p in params if p.param_type_name == "option"]
    arguments = [_KNOWN_ARGUMENTS.get(p.metavar, "") for p in params if p not in options]
    return Command(
        path,
        command.get_short_help_str(1000).rstrip("."),
        tuple(_option(p) for p in options),
        tuple(_read(command.get_command(context, n), context, (*path, n)) for n in names),
        next(iter(arguments), ""),
    )


def _option(option: Any) -> Option:
    flag = option.is_flag or option.count
    return Option(
        names=(*option.opts, *option.secondary_opts),
        help=" ".join((option.help or "").split()).rstrip("."),
        value="" if flag else option.metavar or "NUMBER",
        choices=_CHOICES.get(option.opts[0], ()),
        repeatable=bool(option.multiple or option.count),
    )


def bash(root: Command) -> str:
    """The script for bash, 3.2 and newer, without the bash-completion package."""
    known = {n: o.known for c in root.walk() for o in c.options if o.known for n in o.names}
    files = sorted({n for c in root.walk() for o in c.options if o.files for n in o.names})
    lines = [
        f"# bash completion for hfcal; {HEAD}",
        "",
        "# Sets words to what blanks part on the line, and here to the one that is completed.",
        "# COMP_WORDS has them in pieces, cut at = and : as well. Nothing unquotes in bash without",
        "# running what is quoted, so quotes are merely taken out.",
        "_hfcal_words() {",
        '    local rest="$COMP_LINE" index piece',
        "    words=()",
        "    for (( index = 0; index < ${#COMP_WORDS[@]}; index++ )); do",
        '        piece="${COMP_WORDS[index]}"',
        '        [[ $index == 0 || $rest == [[:blank:]]* ]] && words+=("")',
        "        if (( index == COMP_CWORD )); then",
        "            here=$(( ${#words[@]} - 1 ))",
        "            # With the cursor between blanks, this is the word after them.",
        "            [[ -z $1 && -n $piece && ${COMP_LINE:0:COMP_POINT} == *[[:blank:]] ]] &&",
        '                words+=("")',
        "        fi",
        """        words[${#words[@]} - 1]+="${piece//[\\"\\'\\\\]/}\"""",
        '        rest="${rest#*"$piece"}"',
        "    done",
        "}",
        "",
        "_hfcal() {",
        '    local words here=0 index word option="" at="" prev="" head="" found="" known=""',
        "    local told=(_complete)",
        "    COMPREPLY=()",
        '    _hfcal_words "$2"',
        "    for (( index = 1; index < ${#words[@]}; index++ )); do",
        '        word="${words[index]}"',
        "        if [[ -z $option && $word == --*=* ]]; then",
        '            option="${word%%=*}"',
        '            word="${word#*=}"',
        '            (( index == here )) && head="$option="',
        "        fi",
        '        (( index == here )) && prev="$option"',
        "        if [[ -n $option ]]; then",
        '            case "$option" in',
        f'                {"|".join(_TOLD)}) told+=("$option=$word") ;;',
        "            esac",
        '            option=""',
        "        else",
        '            case "$word" in',
        f'                {"|".join(root.valued())}) option="$word" ;;',
        "                -*) ;;",
        '                *) (( index < here )) && at="$at $word" ;;',
        "            esac",
        "        fi",
        "    done",
        "    # Readline keeps what stands before $2, such as --agent=a: of --agent=a:b, and puts a",
        "    # reply in the place of $2; in the midst of a word, that would double what follows.",
        """    local whole="${words[here]}" last="${2//[\\"\\'\\\\]/}\"""",
        '    local cur="${whole#"$head"}" keep="${whole%"$last"}"',
        '    [[ $whole == *"$last" ]] || return 0',
        '    case "$prev" in',
        '        "") ;;',
    ]
    for name, choices in _CHOICES.items():
        lines.append(f'        {name}) found="{" ".join(choices)}" ;;')
    lines += [f'        {name}) known="{kind}" ;;' for name, kind in known.items()]
    lines += [
        f"        {'|'.join(files)})",
        "            compopt -o filenames 2>/dev/null",
        "            while IFS= read -r word; do",
        '                word="$head$word"',
        '                COMPREPLY+=("${word#"$keep"}")',
        '            done < <(compgen -f -- "$cur")',
        "            return ;;",
        "        *) return ;;",
        "    esac",
        "    if [[ -z $prev ]]; then",
        '        case "$at" in',
    ]
    for command in root.walk():
        words = [name for option in command.options for name in option.names]
        at = "".join(f" {word}" for word in command.path)
        if command.children:
            subcommands = " ".join(child.path[-1] for child in command.children)
            lines += [
                f'            "{at}")',
                f'                found="{subcommands}"',
                f'                [[ $cur == -* ]] && found="{" ".join(words)}" ;;',
            ]
        elif command.known:
            lines += [
                f'            "{at}")',
                f'                known="{command.known}"',
                f'                [[ $cur == -* ]] && known="" found="{" ".join(words)}" ;;',
            ]
        else:
            lines.append(f'            "{at}") found="{" ".join(words)}" ;;')
    lines += [
        "        esac",
        "    fi",
        "    if [[ -n $known ]]; then",
        "        # Not by compgen -W, which would expand what a backend chose as an id.",
        "        while IFS= read -r word; do",
        '            word="$head$word"',
        '            [[ $word == "$whole"* ]] && COMPREPLY+=("$(printf %q "${word#"$keep"}")")',
        '        done < <("${words[0]}" "${told[@]}" "$known" 2>/dev/null)',
        "        return",
        "    fi",
        "    while IFS= read -r word; do",
        '        word="$head$word"',
        '        COMPREPLY+=("${word#"$keep"}")',
        '    done < <(compgen -W "$found" -- "$cur")',
        "}",
        "",
        "complete -F _hfcal hfcal",
    ]
    return "\n".join(lines) + "\n"


def zsh(root: Command) -> str:
    """The script for zsh; a function for each command."""
    lines = [
        "#compdef hfcal",
        f"# zsh completion for hfcal; {HEAD}",
        "",
        "_hfcal_values() {",
        "    local -a found told",
        "    local word option",
        '    for word in "${(@)typed}"; do',
        "        if [[ -n $option ]]; then",
        '            told+=("$option=$word")',
        "            option=",
        "            continue",
        "        fi",
        "        case $word in",
        f"            {'|'.join(_TOLD)}) option=$word ;;",
        f'            {"|".join(f"{name}=*" for name in _TOLD)}) told+=("$word") ;;',
        "        esac",
        "    done",
        "    # Not by _call_program, which would run what was typed.",
        '    found=(${(f)"$(hfcal _complete $told $1 2>/dev/null)"})',
        "    compadd -a found",
        "}",
        "",
    ]
    for command in root.walk():
        lines += [*_zsh_function(command), ""]
    lines += [
        "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then",
        '    _hfcal "$@"',
        "else",
        "    compdef _hfcal hfcal",
        "fi",
    ]
    return "\n".join(lines) + "\n"


def _zsh_function(command: Command) -> list[str]:
    specs = [spec for option in command.options for spec in _zsh_specs(option)]
    if command.known:
        specs.append(f"'1:{command.known}:{{_hfcal_values {command.known}}}'")
    if not command.children:
        return [
            f"{_zsh_name(command)}() {{",
            "    _arguments -s \\",
            *[f"        {spec} \\" for spec in specs[:-1]],
            f"        {specs[-1]}",
            "}",
        ]
    # _arguments leaves a subcommand only the words that follow it.
    typed = ["    local -a typed", '    typed=("${(@Q)words}")']
    lines = [
        f"{_zsh_name(command)}() {{",
        "    local curcontext=$curcontext state state_descr line",
        "    typeset -A opt_args",
        *([] if command.path else typed),
        "    _arguments -C -s \\",
        *[f"        {spec} \\" for spec in specs],
        # (-): what follows the subcommand is its own, also the options that both have.
        "        '(-)1: :->command' \\",
        "        '(-)*:: :->rest' && return 0",
        "    case $state in",
        "        command)",
        "            local -a commands",
        "            commands=(",
    ]
    for child in command.children:
        text = child.help.replace("\\", "\\\\").replace(":", "\\:")
        lines.append(f"                {_quoted(f'{child.path[-1]}:{text}')}")
    lines += [
        "            )",
        "            _describe -t commands 'hfcal command' commands ;;",
        "        rest)",
        "            case $words[1] in",
        *[f"                {child.path[-1]}) {_zsh_name(child)} ;;" for child in command.children],
        "            esac ;;",
        "    esac",
        "}",
    ]
    return lines


def _zsh_name(command: Command) -> str:
    return "_".join(["_hfcal", *command.path])


def _zsh_specs(option: Option) -> list[str]:
    text = option.help.replace("\\", "\\\\")
    for special in ":[]":
        text = text.replace(special, "\\" + special)
    value = ""
    if option.value:
        action = "_files" if option.files else ""
        if option.choices:
            action = f"({' '.join(option.choices)})"
        elif option.known:
            action = f"{{_hfcal_values {option.known}}}"
        value = f":{option.value}:{action}"
    ends = "--help" in option.names or "--version" in option.names
    together = "(- *)" if ends else "" if option.repeatable else f"({' '.join(option.names)})"
    star = "*" if option.repeatable else ""
    return [
        _quoted(f"{together}{star}{name}{'=' if value and name[:2] == '--' else ''}[{text}]{value}")
        for name in option.names
    ]


def fish(root: Command) -> str:
    """The script for fish."""
    lines = [
        f"# fish completion for hfcal; {HEAD}",
        "",
        "function __hfcal_at --description 'Whether these are the subcommands typed so far'",
        "    set -l tokens (commandline -opc)",
        "    set -l found",
        "    set -l value 0",
        "    for token in $tokens[2..-1]",
        "        if test $value = 1",
        "            set value 0",
        "            continue",
        "        end",
        "        switch $token",
        f"            case {' '.join(root.valued())}",
        "                set value 1",
        "            case '-*'",
        "            case '*'",
        "                set -a found $token",
        "        end",
        "    end",
        '    test "$found" = "$argv"',
        "end",
        "",
        "function __hfcal_values --description 'What the state that the line names knows'",
        "    set -l told",
        "    set -l option",
        "    # Only what stands before the cursor: fish shows completions no more of the line.",
        "    for token in (commandline -opc)",
        "        if set -q option[1]",
        "            set -a told $option=$token",
        "            set option",
        "            continue",
        "        end",
        "        switch $token",
        f"            case {' '.join(_TOLD)}",
        "                set option $token",
        f"            case {' '.join(_fish_quoted(f'{name}=*') for name in _TOLD)}",
        "                set -a told $token",
        "        end",
        "    end",
        "    hfcal _complete $told $argv 2>/dev/null",
        "end",
        "",
        "complete -c hfcal -f",
    ]
    for command in root.walk():
        at = f"complete -c hfcal -n '{' '.join(['__hfcal_at', *command.path])}'"
        lines.append("")
        lines += [
            f"{at} -a {child.path[-1]} -d {_fish_quoted(child.help)}" for child in command.children
        ]
        lines += [f"{at} {_fish_option(option)}" for option in command.options]
        if command.known:
            lines.append(f"{at} -a {_fish_idents(command.known)}")
    return "\n".join(lines) + "\n"


def _fish_option(option: Option) -> str:
    words = [f"-l {name[2:]}" if name[:2] == "--" else f"-s {name[1:]}" for name in option.names]
    if option.files:
        words.append("-r -F")
    elif option.choices:
        words.append(f"-x -a '{' '.join(option.choices)}'")
    elif option.known:
        words.append(f"-x -a {_fish_idents(option.known)}")
    elif option.value:
        words.append("-x")
    return " ".join([*words, "-d", _fish_quoted(option.help)])


def _fish_idents(kind: str) -> str:
    return f"'(__hfcal_values {kind})'"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def scripts() -> dict[str, str]:
    """Every script by its file's name."""
    root = read_app()
    return {"hfcal.bash": bash(root), "_hfcal": zsh(root), "hfcal.fish": fish(root)}


def files() -> dict[Path, str]:
    """The scripts by where they are."""
    return {DIRECTORY / name: text for name, text in scripts().items()}


if __name__ == "__main__":
    sys.exit(write_or_check(sys.argv[1:], "completions", files))
