#!/usr/bin/env bash
# Installs what scripts/slurm/one-node.mjs starts, on Debian and Ubuntu.
set -euo pipefail

as_root() {
  if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo -n "$@"; fi
}

if ! command -v apt-get >/dev/null; then
  printf 'no apt-get here: install Slurm (sbatch, slurmctld, slurmd) and munge by hand\n' >&2
  exit 1
fi
as_root apt-get update -qq
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends slurm-wlm munge
