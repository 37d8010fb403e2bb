# bash completion for pvsim, pvsim-meter and pvsim-pv; the table is made from their command lines.

_pvsim()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${1##*/}
    local words='' options='' values=''
    [[ $command == pvsim && $COMP_CWORD -gt 1 ]] && command="pvsim ${COMP_WORDS[1]}"
    case $command in
    # TABLES
    esac

    COMPREPLY=()
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    elif [[ $values == FILE ]]; then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    elif [[ $values == DIR ]]; then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words $values" -- "$current")
    fi
}
complete -F _pvsim pvsim pvsim-meter pvsim-pv
