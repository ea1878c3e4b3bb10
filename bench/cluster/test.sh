#!/usr/bin/env bash
# That a Slurm array on this machine, merged, gives byte for byte the report of an unsharded run, and that a
# part that is lost is named and can be repeated alone. Takes arguments of `cargo xtask bench`.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- --filter 'kmalloc,mixed/toggle,pages/0' --no-default-traces
runs=$(mktemp -d)
slurm=$runs/slurm
trap 'bench/cluster/one-machine-slurm.sh stop "$slurm"; rm -rf "$runs"' EXIT
eval "$(bench/cluster/one-machine-slurm.sh start "$slurm")"

bench/cluster/slurm.sh 2 "$runs" "$@"
mv "$runs/report.json" "$runs/first.json"

rm "$runs/parts/2.json"
if cargo xtask report --merge "$runs/parts" --format json >/dev/null 2>"$runs/said"; then
    echo "a lost part was not missed" >&2
    exit 1
fi
grep -q 'shard 2/2 is missing' "$runs/said"
bench/cluster/slurm.sh 2 "$runs" --again 2 "$@"
cmp "$runs/report.json" "$runs/first.json"

cargo xtask bench --yes --format json --output "$runs/whole.json" "$@"
cmp "$runs/report.json" "$runs/whole.json"
echo "the merged report is the whole, $(wc -c <"$runs/whole.json") bytes"
