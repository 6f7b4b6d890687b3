#!/usr/bin/env bash
# Builds the program `cog-train` for this machine's platform, and packs it with its licence, README and document.
#
#   scripts/release.sh [FEATURE...]     features of cargo beside `cli`: cuda, parquet, ...
#   OUT=DIR scripts/release.sh          the folder of the archive: target/release-archive unless given
#
# It prints the archive's path and digest, and writes the digest beside it: `sha256sum --check` verifies it.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=${OUT:-$root/target/release-archive}

fail() { printf 'error: %s\n' "$@" >&2; exit 1; }

case "${1-}" in -*) fail "\`$1\` is no option; the arguments are features of cargo" ;; esac
for program in cargo rustc git tar gzip sha256sum; do
  command -v $program > /dev/null || fail "\`$program\` was not found"
done

cd "$root"
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
[ -n "$version" ] || fail 'Cargo.toml names no version'
platform=$(rustc -vV | sed -n 's/^host: //p')
features=$(IFS=,; echo "cli${*:+,$*}")
name=cog-train-$version-$platform${*:+-$(IFS=-; echo "$*")}

cargo build --release --locked -p cog-train --bin cog-train --features "$features"

mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/$name"
# The profile strips the binary.
cp "${CARGO_TARGET_DIR:-target}/release/cog-train" LICENSE README.md cog-train/docs/tool.md "$work/$name"
"$work/$name/cog-train" --version | grep -qx "cog-train $version" || fail 'the binary has another version'
# The same files give the same bytes.
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" -C "$work" -cf - "$name" |
  gzip --no-name --best > "$work/$name.tar.gz"
mv "$work/$name.tar.gz" "$out"
cd "$out"
sha256sum "$name.tar.gz" > "$name.tar.gz.sha256"
echo "$out/$name.tar.gz"
cat "$name.tar.gz.sha256"
