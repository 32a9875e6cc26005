# cargo's own completion asks the function of this name about the words behind `cargo xtask`.
_cargo-xtask() {
    _xtask "$@"
}
