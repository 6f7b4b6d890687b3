#!/usr/bin/env bash
# Runs on a GPU machine what cannot be run elsewhere, and writes a table of it in Markdown.
#
#   cuda-check.sh [--device cuda|cuda:N] [--report FILE] [FOLDER]
#
# FOLDER holds what scripts/cuda-build.sh built: this script's own folder, or target/cuda-check. The table goes to
# standard output and to FILE, `cuda-check.md` unless given. `--device cpu` tries the script itself where there is no GPU.
#
# Needs bash, coreutils, grep, sed and awk. Answers 0 when all is well, 1 when a row failed, 2 for wrong arguments, and 3
# where there is no GPU.
set -uo pipefail

usage() { sed -n '/^#   /s/^# *//p' "$0"; }
wrong() { printf 'error: %s\n' "$1" >&2; usage >&2; exit 2; }

device=cuda report=cuda-check.md folder=
while [ $# -gt 0 ]; do
  case $1 in
    --device) device=${2-}; shift; case $device in cuda | cuda:[0-9]* | cpu) ;; *) wrong "\`$device\` is not cuda, cuda:N or cpu" ;; esac ;;
    --report) report=${2-}; shift; [ -n "$report" ] || wrong '`--report` names a file' ;;
    --help | -h) usage; exit 0 ;;
    -*) wrong "\`$1\` is no option" ;;
    *) [ -z "$folder" ] || wrong 'there is one folder'; folder=$1 ;;
  esac
  shift
done
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "$folder" ]; then
  if [ -x "$here/image_classifier" ]; then folder=$here; else folder=$here/../target/cuda-check; fi
fi
[ -d "$folder" ] || wrong "\`$folder\` is no folder: scripts/cuda-build.sh makes it"
folder=$(cd "$folder" && pwd)
for name in image_classifier text_finetune test-cuda lib-cog_train_nn; do
  [ -x "$folder/$name" ] || wrong "$folder has no \`$name\`: scripts/cuda-build.sh makes it"
done

work=$(mktemp -d)
child=
trap 'if [ -n "$child" ]; then kill "$child" 2> /dev/null; fi; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# cuBLAS and cuRAND are found where a toolkit or Python's wheels have put them.
for place in /usr/local/cuda/lib64 /usr/local/cuda/targets/x86_64-linux/lib \
  $(python3 -c 'import sys; print(*(f"{p}/nvidia/*/lib" for p in sys.path if p))' 2> /dev/null); do
  if [ -d "$place" ]; then LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$place; fi
done
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH-}

gpu_says() { nvidia-smi --id="$([ "${device#cuda:}" = "$device" ] && echo 0 || echo "${device#cuda:}")" --query-gpu="$1" --format=csv,noheader,nounits 2> /dev/null; }

# Opening the device is the first thing that a run does; `--plan` ends it before anything is trained.
opened=$(cd "$work" && "$folder/image_classifier" --device "$device" --plan --seed 1 2>&1)
if [ $? -ne 0 ]; then
  why=$(printf '%s\n' "$opened" | sed -n 's/^error: //p' | head -n 1)
  if [ -n "$(gpu_says name)" ]; then
    echo "the GPU ($(gpu_says name)) could not be used: ${why:-$opened}; is LD_LIBRARY_PATH set to where libcublas and libcurand lie?" >&2
    exit 1
  fi
  echo "there is no GPU to check on: ${why:-$opened}" >&2
  exit 3
fi

failed=0
rows=$work/rows
: > "$rows"
# A row of the table: what, ok or FAILED, the figures.
row() {
  if [ "$2" != ok ]; then failed=1; fi
  printf '| %s | %s | %s |\n' "$1" "$2" "$3" >> "$rows"
  printf '%s: %s %s\n' "$1" "$2" "$3" >&2
}

# --- tests ---

on=(COG_TRAIN_NEEDS_GPU=1)
if [ "$device" = cpu ]; then on=(COG_TRAIN_TEST_DEVICE=cpu); fi
# Every kernel against its operation's plain form.
if (cd "$work" && env "${on[@]}" RUST_BACKTRACE=0 "$folder/lib-cog_train_nn" kernels::) > "$work/kernels" 2>&1; then
  passed=$(sed -n 's/^test result: ok. \([0-9]* passed\).*/\1/p' "$work/kernels")
  row 'kernels by parity with the plain operations' ok "$passed"
else
  names=$(sed -n 's/^test \(.*\) \.\.\. FAILED/\1/p' "$work/kernels" | tr '\n' ' ')
  row 'kernels by parity with the plain operations' FAILED "$names"
fi
(cd "$work" && env "${on[@]}" RUST_BACKTRACE=0 "$folder/test-cuda" --test-threads 1) > "$work/tests" 2>&1
tests_end=$?
(cd "$work" && env "${on[@]}" "$folder/test-cuda" --test-threads 1 --nocapture) 2>&1 | sed -n 's/^.*figure: //p' > "$work/figures"
while read -r _ name _ result; do
  if [ "$result" = ok ]; then row "test \`$name\`" ok ''; else row "test \`$name\`" FAILED "$(grep -A3 "'$name'" "$work/tests" | sed -n 2,4p | tr '\n|' ' /')"; fi
done < <(grep -E '^test .* \.\.\. ' "$work/tests")
if [ $tests_end -ne 0 ] || ! grep -q '^test result: ok' "$work/tests"; then row 'all tests' FAILED "exit code $tests_end"; else row 'all tests' ok "$(sed -n 's/^test result: ok. \([0-9]* passed\).*/\1/p' "$work/tests")"; fi
while IFS= read -r figure; do row "figure: ${figure%: *}" ok "${figure##*: }"; done < "$work/figures"

# --- the examples ---

numbers() { grep -o "\"$2\":[^,}]*" "$1/metrics.jsonl" 2> /dev/null | cut -d: -f2; }
median() { sort -g | awk '{ a[NR] = $1 } END { if (NR) printf "%.0f", a[int((NR + 1) / 2)]; else printf "none" }'; }
most() { sort -g | tail -n 1 | awk '{ printf "%.0f MiB", $1 / 1048576; seen = 1 } END { if (!seen) printf "unknown" }'; }
steps() { cat "$1/metrics.jsonl" 2> /dev/null | grep -c '"loss":'; }
output() { sed -n "s/.*\"$2\": *\([-0-9.e]*\).*/\1/p" "$1/weights/output.json" 2> /dev/null | head -n 1; }
# Whether two numbers differ by less than 5 in 100.
near() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; if (d < 0) d = -d; exit !(a != "" && b != "" && d < 0.05 * (b < 0 ? -b : b)) }'; }
# The numbers of a run, but for those that the clock decides.
decided() { grep -v '"time/' "$1/metrics.jsonl"; }

# train EXAMPLE FOLDER DEVICE ARGUMENTS...
train() {
  local example=$1 at=$work/$2 on=$3
  shift 3
  mkdir -p "$at"
  (cd "$at" && exec "$folder/$example" --device "$on" --seed 7 --run-dir run "$@") > "$at/said" 2>&1
}
last_word() { tail -n 2 "$work/$1/said" | tr '\n|' ' /'; }

check_example() {
  local example=$1 loss=$2 straight=$1-straight stopped=$1-stopped cpu=$1-cpu
  shift 2
  local started ended
  started=$(date +%s.%N)
  if ! train "$example" "$straight" "$device" "$@"; then row "$example trains" FAILED "$(last_word "$straight")"; return; fi
  ended=$(date +%s.%N)
  local run=$work/$straight/run total
  total=$(steps "$run")
  row "$example trains" ok "$total steps in $(awk -v a="$started" -v b="$ended" 'BEGIN { printf "%.1f", b - a }') s, $loss $(output "$work/$straight" "$loss")"
  row "$example: rows per second (median)" ok "$(numbers "$run" time/rows_per_second | median)"
  row "$example: most memory" ok "device $(numbers "$run" time/device_memory_bytes | most), process $(numbers "$run" time/memory_bytes | most)"

  if train "$example" "$cpu" cpu "$@"; then
    local a b
    a=$(output "$work/$straight" "$loss") b=$(output "$work/$cpu" "$loss")
    if near "$a" "$b"; then row "$example: $loss within 5 % of the CPU's" ok "$a and $b"; else row "$example: $loss within 5 % of the CPU's" FAILED "$a and $b"; fi
    row "$example: rows per second on this machine's CPU" ok "$(numbers "$work/$cpu/run" time/rows_per_second | median)"
  else
    row "$example trains on the CPU" FAILED "$(last_word "$cpu")"
  fi

  # Stopped by SIGTERM after a third of the steps; resumed; the same to the byte.
  mkdir -p "$work/$stopped"
  (cd "$work/$stopped" && exec "$folder/$example" --device "$device" --seed 7 --run-dir run "$@") > "$work/$stopped/said" 2>&1 &
  child=$!
  while kill -0 "$child" 2> /dev/null && [ "$(steps "$work/$stopped/run")" -lt $((total / 3)) ]; do sleep 0.02; done
  kill -TERM "$child" 2> /dev/null
  wait "$child"
  local code=$? at
  child=
  at=$(steps "$work/$stopped/run")
  if [ $code -ne 130 ] || [ "$at" -eq 0 ] || [ "$at" -ge "$total" ]; then
    row "$example stops at SIGTERM" FAILED "exit code $code after $at of $total steps: $(last_word "$stopped")"
    return
  fi
  row "$example stops at SIGTERM" ok "after step $at of $total"
  if ! (cd "$work/$stopped" && "$folder/$example" --device "$device" --seed 7 --run-dir run --resume "$@") > "$work/$stopped/said" 2>&1; then
    row "$example resumes" FAILED "$(last_word "$stopped")"
  elif ! cmp "$work/$straight/run/weights.safetensors" "$work/$stopped/run/weights.safetensors" > "$work/differs" 2>&1; then
    row "$example: stopped and resumed, the weights are the same bytes" FAILED "$(tr '\n|' ' /' < "$work/differs")"
  elif ! cmp -s <(decided "$work/$straight/run") <(decided "$work/$stopped/run"); then
    row "$example: stopped and resumed, the numbers are the same" FAILED 'metrics.jsonl differs'
  else
    row "$example: stopped and resumed, weights and numbers are the same bytes" ok "$(stat -c %s "$work/$straight/run/weights.safetensors") bytes"
  fi
}

before=$(gpu_says memory.used)
check_example image_classifier final_loss -i epochs=8
check_example text_finetune eval_loss_after -i epochs=3

# --- the table ---

{
  printf '## On %s\n\n' "$(if [ "$device" = cpu ]; then echo 'the CPU: no GPU has been checked'; else gpu_says name; fi)"
  printf '| | |\n|---|---|\n'
  printf '| date | %s |\n' "$(date -u +%Y-%m-%d)"
  printf '| build | %s |\n' "$(cat "$folder/BUILD" 2> /dev/null || echo unknown)"
  if [ "$device" != cpu ]; then
    printf '| driver | %s |\n' "$(gpu_says driver_version)"
    printf '| device memory | %s MiB, %s MiB of it taken before |\n' "$(gpu_says memory.total)" "${before:-?}"
  fi
  printf '| CPU | %s, %s threads |\n' "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)"
  printf '\n| check | | figures |\n|---|---|---|\n'
  cat "$rows"
} | tee "$report"
exit $failed
