#!/usr/bin/env bash
# Builds the image that `BIN dockerfile` describes without Docker, and calls it by the argument lists of Cog.
#
#   scripts/container-check.sh [NAME]              the example NAME: hello_train unless given; compiles it twice
#   BUILT=1 scripts/container-check.sh [NAME]      takes the binary of target/debug in place of cargo's: minutes
#
# Debian's base image is made by debootstrap, the compiler's from it and the toolchain of this machine; buildah runs the file
# in a chroot. Needs root, debootstrap, buildah, a mirror of Debian, and 6 GB in TMPDIR, which are removed at the end.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
name=${1:-hello_train}
program=$root/target/debug/examples/$name

fail() { printf 'error: %s\n' "$@" >&2; exit 1; }
said() { printf '%s\n' "--- $*"; }

[ "$(id -u)" = 0 ] || fail 'a chroot needs root'
for tool in cargo debootstrap buildah; do command -v "$tool" > /dev/null || fail "\`$tool\` was not found"; done
dir=$(mktemp -d)
export CONTAINERS_STORAGE_CONF=$dir/storage.conf BUILDAH_ISOLATION=chroot
printf '[storage]\ndriver = "overlay"\nrunroot = "%s"\ngraphroot = "%s"\n' "$dir/run" "$dir/graph" > "$dir/storage.conf"
trap 'buildah rm --all > /dev/null 2>&1 || true; umount -q "$dir/graph/overlay" || true; rm -rf "$dir"' EXIT

cd "$root"
cargo build --quiet --workspace --example "$name"
"$program" dockerfile > "$dir/Dockerfile"
rust=$(sed -n 's/^FROM \(rust:[^ ]*\) AS build$/\1/p' "$dir/Dockerfile")
base=$(sed -n 's/^FROM \(debian:[^ ]*\)$/\1/p' "$dir/Dockerfile")
[ -n "$rust" ] && [ -n "$base" ] || fail 'this check is for images without CUDA'

said "$base"
debootstrap --variant=minbase trixie "$dir/base" > "$dir/log" 2>&1 || { tail "$dir/log"; fail 'debootstrap failed'; }
rm -rf "$dir"/base/var/cache/apt/archives/*.deb "$dir"/base/var/lib/apt/lists/* "$dir"/base/usr/share/{doc,man,locale}/*
# As in Debian's own image: apt keeps no cache.
echo 'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";' > "$dir/base/etc/apt/apt.conf.d/docker-clean"
made=$(buildah from scratch)
buildah add -q "$made" "$dir/base" / > /dev/null
buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$made"
buildah commit -q --rm "$made" "docker.io/library/$base" > /dev/null
rm -rf "$dir/base"

said "$rust"
made=$(buildah from --pull-never "docker.io/library/$base")
if [ -n "${BUILT-}" ]; then
  # In cargo's place: a stub is nothing, and the second build is the binary.
  release=$(sed -n 's|^ && install -D \([^ ]*\) .*|\1|p' "$dir/Dockerfile")
  printf '#!/bin/sh\ngrep -q "fn main() {}" "%s" && exit 0\ninstall -D /opt/built "%s"\n' \
    "/build/examples/$name/main.rs" "$release" > "$dir/cargo"
  chmod +x "$dir/cargo"
  buildah add -q "$made" "$program" /opt/built > /dev/null
  buildah add -q "$made" "$dir/cargo" /usr/local/bin/cargo > /dev/null
else
  buildah run "$made" -- sh -c 'apt-get update && apt-get install --yes --no-install-recommends g++ libc6-dev make' > "$dir/log" 2>&1 \
    || { tail "$dir/log"; fail 'no compiler'; }
  sysroot=$(rustc --print sysroot)
  mkdir -p "$dir"/rust/{bin,lib/rustlib}
  cp "$sysroot"/bin/{cargo,rustc} "$dir/rust/bin/"
  cp "$sysroot"/lib/*.so* "$dir/rust/lib/"
  cp -r "$sysroot/lib/rustlib/x86_64-unknown-linux-gnu" "$dir/rust/lib/rustlib/"
  buildah add -q "$made" "$dir/rust" /usr/local > /dev/null
  rm -r "$dir/rust"
  # As in the image of Rust.
  buildah config --env CARGO_HOME=/usr/local/cargo "$made"
fi
buildah commit -q --rm "$made" "docker.io/library/$rust" > /dev/null

said 'the Dockerfile'
printf '%s\n' target '**/target' .git runs > "$dir/ignore"
context=$(sed -n 's/^# .*--file Dockerfile //p' "$dir/Dockerfile")
registry=()
[ ! -d "${CARGO_HOME:-$HOME/.cargo}/registry" ] || [ -n "${BUILT-}" ] || registry=(--volume "${CARGO_HOME:-$HOME/.cargo}/registry:/usr/local/cargo/registry")
(cd "$root/cog-train/$context" && buildah bud --pull-never --layers "${registry[@]}" --ignorefile "$dir/ignore" --tag checked --file "$dir/Dockerfile" .)

said 'the labels'
label() { buildah inspect --type image --format "{{index .OCIv1.Config.Labels \"run.cog.$1\"}}" checked; }
[ "$(label openapi_schema)" = "$("$program" schema --compact)" ] || fail 'the label of the schema is not that of the binary'
label config | python3 -c 'import json, sys; print(json.load(sys.stdin))'
[ "$(label has_init)" = true ] || fail 'no label of an init'

said 'the calls'
box=$(buildah from --pull-never checked)
call() { printf '$ %s\n' "$*"; buildah run "$box" -- /usr/bin/tini -s -- "$@"; }
call python --version
[ -z "$(call python -m pip freeze | tail -n +2)" ] || fail "pip freeze names packages"
[ "$(call cat .cog/openapi_schema.json | tail -n +2)" = "$("$program" schema --compact)" ] || fail 'the file of the schema is another one'
if call python -c 1; then fail 'a real Python answered'; fi
call "$name" --help > /dev/null
printf '$ %s\n' "as a user without a name: $name check"
buildah run --user 1234:1234 "$box" -- sh -c "$name check && touch /src/file /var/cache/cog-train/file"
if call python -m cog.server.http --version; then
  for list in '-m cog.server.http --x-mode train' '--check-hash-based-pycs never -m cog.server.http --x-mode train --await-explicit-shutdown true'; do
    # shellcheck disable=SC2086 # words on purpose
    call python $list > "$dir/log" 2>&1 &
    for _ in $(seq 100); do
      health=$(python3 -c 'import urllib.request as r; print(r.urlopen("http://127.0.0.1:5000/health-check", timeout=1).read().decode())' 2> /dev/null) && break
      sleep 0.2
    done
    printf '$ python %s\n%s\n' "$list" "${health:?$(cat "$dir/log")}"
    python3 -c 'import urllib.request as r; r.urlopen(r.Request("http://127.0.0.1:5000/shutdown", method="POST"))'
    wait
    unset health
  done
else
  echo "note: \`$name\` is built without the server"
fi

said 'the size'
buildah images --format '{{.Name}}:{{.Tag}} {{.Size}}'
