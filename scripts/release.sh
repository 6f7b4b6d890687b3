#!/usr/bin/env bash
# Builds the program `cog-train` for this machine's platform, and packs it with its page of the book as README, its licence, and the
# licences of the crates that are compiled in.
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

# Lists the crates that are compiled in with their licences, and then has each text once.
third_party() {
  local texts crate release licence file text
  texts=$(mktemp -d -p "$work")
  shopt -s nullglob nocaseglob
  cargo tree --locked --package cog-train --features "$features" --edges normal,no-proc-macro --prefix none --format '{p} {l}' |
    sed 's/ (\*)$//' | grep -v '^cog-train' | sort -u > "$texts.crates"
  printf 'cog-train %s is compiled from these crates, whose licences follow.\n\n' "$version"
  while read -r crate release licence; do
    printf '%s %s: %s\n' "$crate" "${release#v}" "$licence"
    for file in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$crate-${release#v}"/{licen[cs]e,copying,notice,unlicense}*; do
      [ -f "$file" ] || continue
      text=$texts/$(sha256sum < "$file" | cut -c 1-64)
      cp "$file" "$text"
      printf '%s\n' "$crate" >> "$text.crates"
    done
  done < "$texts.crates"
  for file in "$texts"/*.crates; do
    printf '\n%s\n%s\n\n' "$(printf '=%.0s' {1..80})" "$(sort -u "$file" | paste -s -d ' ')"
    cat "${file%.crates}"
  done
}

cargo build --release --locked -p cog-train --bin cog-train --features "$features"

mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/$name"
# The profile strips the binary.
cp "${CARGO_TARGET_DIR:-target}/release/cog-train" LICENSE "$work/$name"
cp cog-train/docs/tool.md "$work/$name/README.md"
third_party > "$work/$name/THIRD-PARTY-LICENSES"
"$work/$name/cog-train" --version | grep -qx "cog-train $version" || fail 'the binary has another version'
# The same files give the same bytes.
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" -C "$work" -cf - "$name" |
  gzip --no-name --best > "$work/$name.tar.gz"
mv "$work/$name.tar.gz" "$out"
cd "$out"
sha256sum "$name.tar.gz" > "$name.tar.gz.sha256"
echo "$out/$name.tar.gz"
cat "$name.tar.gz.sha256"
