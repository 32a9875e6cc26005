# The words behind `cargo xtask`, completed as if they stood behind `xtask`.
function __fish_cargo_xtask
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set -l at (contains --index xtask $words)
    set -l behind $words[(math $at + 1)..]
    complete --do-complete "xtask "(string join ' ' -- $behind (commandline --current-token --cut-at-cursor))
end
complete --command cargo --no-files --condition '__fish_seen_subcommand_from xtask' --arguments '(__fish_cargo_xtask)'
