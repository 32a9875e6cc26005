# Takes the words behind `cargo xtask` to the function above, and all others to cargo's own.
_cargo_or_xtask() {
    local at=1
    [[ ${COMP_WORDS[1]} == +* ]] && at=2
    if [[ ${COMP_WORDS[at]} == xtask && $COMP_CWORD -gt $at ]]; then
        COMP_WORDS=(xtask "${COMP_WORDS[@]:at+1}")
        COMP_CWORD=$((COMP_CWORD - at))
        _xtask xtask "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        return
    fi
    _cargo_before_xtask
    if [[ $_cargo_before_xtask ]]; then
        "$_cargo_before_xtask" "$@"
    else
        COMPREPLY=($(compgen -W xtask -- "$2"))
    fi
}

# Finds cargo's own completion, which bash-completion loads when it is first needed.
_cargo_before_xtask() {
    [[ -v _cargo_before_xtask ]] && return
    if declare -F _comp_load >/dev/null; then
        _comp_load cargo
    elif declare -F __load_completion >/dev/null; then
        __load_completion cargo
    fi
    _cargo_keep_xtask
}

# Remembers what completes cargo now, unless that is nothing or ourselves, and takes its place.
_cargo_keep_xtask() {
    local spec
    spec=$(complete -p cargo 2>/dev/null)
    if [[ $spec =~ -F\ ([^ ]+) && ${BASH_REMATCH[1]} != _cargo_or_xtask ]]; then
        _cargo_before_xtask=${BASH_REMATCH[1]}
    elif [[ ${FUNCNAME[1]} == _cargo_before_xtask ]]; then
        _cargo_before_xtask=
    fi
    complete -o bashdefault -o default -F _cargo_or_xtask cargo
}
_cargo_keep_xtask
