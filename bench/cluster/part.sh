#!/usr/bin/env bash
# One part of a run: what every engine starts, with the part's number in one of their variables.
#
#   part.sh N DIR [ARGUMENTS OF cargo xtask bench]
set -euo pipefail
parts=$1 dir=$2
shift 2
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    part=$SLURM_ARRAY_TASK_ID # from 1
elif [ -n "${JOB_COMPLETION_INDEX:-}" ]; then
    part=$((JOB_COMPLETION_INDEX + 1)) # Kubernetes counts from 0
else
    part=${PART:?the number of the part, from 1}
fi
mkdir -p "$dir"
# A part is there whole or not at all.
cargo xtask bench --yes --shard "$part/$parts" --format json --output "$dir/.$part.json.part" "$@"
mv "$dir/.$part.json.part" "$dir/$part.json"
