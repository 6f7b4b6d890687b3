#!/usr/bin/env bash
# Builds what is to run on a GPU machine, into one folder that can be carried there as it is.
#
#   scripts/cuda-build.sh [NAME...]     examples, tests and benches by name, `lib` for the unit tests of the kernels; without
#                                       one, what cuda-check.sh runs
#   OUT=DIR scripts/cuda-build.sh       the folder: target/cuda-check unless given
#
# It builds with the nvcc on PATH, else with what scripts/cuda-setup.sh has set up in target/cuda-toolkit.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=${OUT:-$root/target/cuda-check}

fail() { printf 'error: %s\n' "$@" >&2; exit 1; }

case "${1-}" in -*) fail "\`$1\` is no option; the arguments are names of examples, tests and benches" ;; esac
[ $# -gt 0 ] || set -- image_classifier text_finetune cuda lib
command -v cargo > /dev/null || fail '`cargo` was not found: install Rust first'
command -v python3 > /dev/null || fail '`python3` was not found'
toolkit=$root/target/cuda-toolkit/env.sh
if ! command -v nvcc > /dev/null; then
  [ -f "$toolkit" ] || fail 'there is no nvcc' 'hint: scripts/cuda-setup.sh brings one; with a folder of your own, source its env.sh'
  . "$toolkit"
fi
nvcc --version | grep -q 'Cuda compilation tools' || fail "$(command -v nvcc) does not print its version"

mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$root"

# The kind of each name, for cargo.
kinds=$(cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
kinds = {}
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == "cog-train":
        for target in package["targets"]:
            if target["kind"][0] in ("example", "test", "bench"):
                kinds[target["name"]] = target["kind"][0]
for name in sys.argv[1:]:
    if name == "lib":
        continue
    if name not in kinds:
        sys.exit(f"error: there is no example, test or bench `{name}`: lib, " + ", ".join(sorted(kinds)))
    print(f"--{kinds[name]} {name}")' "$@")
unit=no
case " $* " in *' lib '*) unit=yes ;; esac
[ -n "$kinds" ] || [ $unit = yes ] || exit 1

# What cargo has built goes into the folder: an example under its name, others with their kind before it.
collect() {
  python3 -c '
import json, shutil, sys
out = sys.argv[1]
for line in sys.stdin:
    message = json.loads(line)
    if message["reason"] == "compiler-artifact" and message["executable"] and message["target"]["name"] in sys.argv[2:]:
        kind, name = message["target"]["kind"][0], message["target"]["name"]
        name = name if kind == "example" else f"{kind}-{name}"
        shutil.copy2(message["executable"], f"{out}/{name}")
        print(f"{out}/{name}")' "$out" "$@"
}

with=(--locked --release --features cuda --message-format=json-render-diagnostics)
# shellcheck disable=SC2086 # words on purpose
[ -z "$kinds" ] || cargo build "${with[@]}" -p cog-train $kinds | collect "$@"
[ $unit = no ] || cargo test "${with[@]}" -p cog-train-nn --lib --no-run | collect cog_train_nn

cp scripts/cuda-check.sh "$out/"
{
  printf 'commit %s' "$(git rev-parse --short=12 HEAD 2> /dev/null || echo unknown)"
  [ -z "$(git status --porcelain 2> /dev/null)" ] || printf ', with changes'
  printf '; %s; code for %s\n' "$(nvcc --version | sed -n 's/^Cuda compilation tools, //p')" "sm_${CUDA_COMPUTE_CAP:-of the build machine}"
} > "$out/BUILD"

# A CUDA library among the needed ones would keep the program from starting where there is none.
if command -v readelf > /dev/null; then
  for file in "$out"/*; do
    # The scripts beside the programs are not ELF files.
    needed=$({ readelf -d "$file" 2> /dev/null || true; } | sed -n 's/.*NEEDED.*\[\(lib\(cu\|nv\|nccl\)[^]]*\)\]/\1/p')
    [ -z "$needed" ] || echo "note: $(basename "$file") needs $(echo $needed) to start; linked through scripts/cuda-setup.sh it would not"
  done
fi
echo "on the GPU machine: $(basename "$out")/cuda-check.sh"
