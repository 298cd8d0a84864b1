# bash completion for hfcal; made by tools/completions.py; change that, not this file.

# Sets words to what blanks part on the line, and here to the one that is completed.
# COMP_WORDS has them in pieces, cut at = and : as well. Nothing unquotes in bash without
# running what is quoted, so quotes are merely taken out.
_hfcal_words() {
    local rest="$COMP_LINE" index piece
    words=()
    for (( index = 0; index < ${#COMP_WORDS[@]}; index++ )); do
        piece="${COMP_WORDS[index]}"
        [[ $index == 0 || $rest == [[:blank:]]* ]] && words+=("")
        if (( index == COMP_CWORD )); then
            here=$(( ${#words[@]} - 1 ))
            # With the cursor between blanks, this is the word after them.
            [[ -z $1 && -n $piece && ${COMP_LINE:0:COMP_POINT} == *[[:blank:]] ]] &&
                words+=("")
        fi
        words[${#words[@]} - 1]+="${piece//[\"\'\\]/}"
        rest="${rest#*"$piece"}"
    done
}

_hfcal() {
    local words here=0 index word option="" at="" prev="" head="" found="" known=""
    local told=(_complete)
    COMPREPLY=()
    _hfcal_words "$2"
    for (( index = 1; index < ${#words[@]}; index++ )); do
        word="${words[index]}"
        if [[ -z $option && $word == --*=* ]]; then
            option="${word%%=*}"
            word="${word#*=}"
            (( index == here )) && head="$option="
        fi
        (( index == here )) && prev="$option"
        if [[ -n $option ]]; then
            case "$option" in
                --config|--state|--agent) told+=("$option=$word") ;;
            esac
            option=""
        else
            case "$word" in
                --config|--state|--backend-url|--claw|--agent|--concurrency|--lock-timeout|--log-format|--interval|--summary|--duration|--slot|--timeout|--reason|--for|--history|--wake-command|--wake-url|--api-key-file|--output-dir|--textfile|--port|--scenario) option="$word" ;;
                -*) ;;
                *) (( index < here )) && at="$at $word" ;;
            esac
        fi
    done
    # Readline keeps what stands before $2, such as --agent=a: of --agent=a:b, and puts a
    # reply in the place of $2; in the midst of a word, that would double what follows.
    local whole="${words[here]}" last="${2//[\"\'\\]/}"
    local cur="${whole#"$head"}" keep="${whole%"$last"}"
    [[ $whole == *"$last" ]] || return 0
    case "$prev" in
        "") ;;
        --log-format) found="text json" ;;
        --agent) known="agents" ;;
        --slot) known="active" ;;
        --api-key-file|--config|--scenario|--state|--textfile)
            compopt -o filenames 2>/dev/null
            while IFS= read -r word; do
                word="$head$word"
                COMPREPLY+=("${word#"$keep"}")
            done < <(compgen -f -- "$cur")
            return ;;
        *) return ;;
    esac
    if [[ -z $prev ]]; then
        case "$at" in
            "")
                found="tick watch complete abort pause resume hold release status queue forget wake config doctor service metrics sim demo"
                [[ $cur == -* ]] && found="--version --config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " tick") found="--dry-run --config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " watch") found="--interval --config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " complete") found="--summary --duration --slot --timeout --require-delivery --config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " abort") found="--reason --slot --timeout --require-delivery --config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " pause") found="--reason --slot --timeout --require-delivery --config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " resume") found="--reason --slot --timeout --require-delivery --config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " hold") found="--all --for --reason --config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " release") found="--all --config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " status") found="--check --history --config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " queue")
                found="list retry drop"
                [[ $cur == -* ]] && found="--config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " queue list") found="--config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " queue retry")
                known="queued"
                [[ $cur == -* ]] && known="" found="--yes -y --config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " queue drop")
                known="queued"
                [[ $cur == -* ]] && known="" found="--yes -y --config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " forget")
                known="agents"
                [[ $cur == -* ]] && known="" found="--drop --yes -y --config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " wake")
                found="test"
                [[ $cur == -* ]] && found="--config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " wake test") found="--config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " config")
                found="show path set init"
                [[ $cur == -* ]] && found="--config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " config show") found="--config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " config path") found="--config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " config set") found="--config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " config init") found="--wake-command --wake-url --api-key-file --force --config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " doctor") found="--config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " service")
                found="systemd cron"
                [[ $cur == -* ]] && found="--config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " service systemd") found="--watch --system --user --output-dir --config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " service cron") found="--config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " metrics") found="--textfile --config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " sim") found="--port --scenario --config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
            " demo") found="--config --state --backend-url --claw --agent --concurrency --lock-timeout --log-format --json -v --verbose -q --quiet --help" ;;
        esac
    fi
    if [[ -n $known ]]; then
        # Not by compgen -W, which would expand what a backend chose as an id.
        while IFS= read -r word; do
            word="$head$word"
            [[ $word == "$whole"* ]] && COMPREPLY+=("$(printf %q "${word#"$keep"}")")
        done < <("${words[0]}" "${told[@]}" "$known" 2>/dev/null)
        return
    fi
    while IFS= read -r word; do
        word="$head$word"
        COMPREPLY+=("${word#"$keep"}")
    done < <(compgen -W "$found" -- "$cur")
}

complete -F _hfcal hfcal
