#!/usr/bin/env bash
# Tests and times steadytune on a machine with a GPU in one call, also where there is neither Node nor a network:
#
#   scripts/gpu-check.sh pack [FILE]     here: Node, node_modules and the compiled TypeScript in one archive (xz)
#   scripts/gpu-check.sh [FILE] [...]    there, in a clone: unpacks it, then runs scripts/gpu-check.mjs with the rest
#
# There it takes the torch of python3 (2.11 or newer, with CUDA) and its transformers, nvcc, cmake and a C++ compiler.
set -euo pipefail
cd "$(dirname "$0")/.."

archive=build/gpu-check.tar.xz

# What neither the build nor the tests nor the benchmark reads.
left_out=(node_modules/prettier node_modules/eslint 'node_modules/@eslint*' 'node_modules/@typescript-eslint'
  node_modules/typescript-eslint node_modules/echarts/dist 'node_modules/@stdlib/*/*/*/*/*/docs' '*.map')

if [[ ${1:-} == pack ]]; then
  archive=${2:-$archive}
  npx tsc -b test
  stage=$(mktemp -d)
  trap 'rm -rf "$stage"' EXIT
  mkdir -p "$stage/.gpu-check/bin" "$(dirname "$archive")"
  cp "$(node -p process.execPath)" "$stage/.gpu-check/bin/node"
  # Without binutils the archive is larger, and no worse.
  if command -v strip >/dev/null; then strip "$stage/.gpu-check/bin/node"; fi
  tar -C . -cf - "${left_out[@]/#/--exclude=}" node_modules dist dist-test tsconfig.tsbuildinfo \
    -C "$stage" .gpu-check | xz -T0 -6 >"$archive"
  ls -l "$archive"
  exit
fi

if [[ -f ${1:-} ]]; then
  archive=$1
  shift
fi
# Python unpacks it where there is no xz.
if [[ -f $archive ]]; then tar -xJf "$archive" 2>/dev/null || python3 -m tarfile -e "$archive" .; fi
if [[ -x .gpu-check/bin/node ]]; then PATH="$PWD/.gpu-check/bin:$PATH"; fi
if ! command -v node >/dev/null; then
  echo 'no GPU check: there is no node on PATH, and no archive that brings one (scripts/gpu-check.sh pack makes it)' >&2
  exit 1
fi
# set-up must neither fetch another libtorch nor another nvcc than what this machine has.
if torch=$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])' 2>/dev/null); then
  export LIBTORCH=${LIBTORCH:-$torch}
  export STEADYTUNE_PYTHON=${STEADYTUNE_PYTHON:-python3}
fi
if [[ -z ${CUDA_HOME:-} ]] && nvcc=$(command -v nvcc); then
  CUDA_HOME=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
  export CUDA_HOME
fi
# Free memory, by which set-up counts compilers, grows on demand on some machines.
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
exec node scripts/gpu-check.mjs "$@"
