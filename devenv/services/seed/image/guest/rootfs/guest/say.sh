# Sourced. Lines that tests read from the console: `devenv-guest: WORD key=value ...`.
say() {
    echo "devenv-guest: $*"
}
