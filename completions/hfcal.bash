# bash completion for hfcal; made by tools/completions.py; change that, not this file.

_hfcal() {
    local cur="${COMP_WORDS[COMP_CWORD]}" prev="" at="" word index=1 found="" known=""
    COMPREPLY=()
    # Readline makes --option=value three words.
    [[ $cur == "=" ]] && cur=""
    while (( index < COMP_CWORD )); do
        word="${COMP_WORDS[index]}"
        if [[ -n $prev ]]; then
            [[ $word == "=" ]] || prev=""
        else
            case "$word" in
                --config|--state|--backend-url|--claw|--agent|--concurrency|--lock-timeout|--log-format|--interval|--summary|--duration|--slot|--timeout|--reason|--for|--history|--wake-command|--wake-url|--api-key-file|--output-dir|--textfile|--port|--scenario) prev="$word" ;;
                -*) ;;
                *) at="$at $word" ;;
            esac
        fi
        (( index += 1 ))
    done
    case "$prev" in
        "") ;;
        --log-format) found="text json" ;;
        --agent) known="agents" ;;
        --slot) known="active" ;;
        --api-key-file|--config|--scenario|--state|--textfile)
            compopt -o filenames 2>/dev/null
            while IFS= read -r word; do
                COMPREPLY+=("$word")
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
            [[ $word == "$cur"* ]] && COMPREPLY+=("$(printf %q "$word")")
        done < <("${COMP_WORDS[0]}" _idents "$known" 2>/dev/null)
        return
    fi
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <(compgen -W "$found" -- "$cur")
}

complete -F _hfcal hfcal
