#!/usr/bin/env bash
# Measures in N parts as a Slurm job array, and merges them:
#
#   bench/cluster/slurm.sh N DIR [ARGUMENTS OF cargo xtask bench]
#   bench/cluster/slurm.sh 2 runs/today --peers all
#
# The parts are DIR/parts/K.json, the whole is DIR/report.json. The checkout must be visible from all nodes,
# and Rust and QEMU be there (`cargo xtask doctor`). A part that fails is run again alone:
#
#   bench/cluster/slurm.sh N DIR --again K [ARGUMENTS, the same as before]
set -euo pipefail
[ $# -ge 2 ] || {
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
}
parts=$1 dir=$2
shift 2
array=1-$parts
if [ "${1:-}" = --again ]; then
    array=${2:?--again takes the number of a part}
    shift 2
fi
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$dir/parts" "$dir/logs"
dir=$(cd "$dir" && pwd)

# One processor a part, unless CPUS says otherwise: as many machines run at once in it.
job=$(sbatch --parsable --job-name=tessera-bench --array="$array" --chdir="$root" \
    --output="$dir/logs/%a.log" --cpus-per-task="${CPUS:-1}" "$root/bench/cluster/part.sh" \
    "$parts" "$dir/parts" "$@")
echo "job $job: parts $array of $parts; logs in $dir/logs" >&2
while [ -n "$(squeue --noheader --job="$job" 2>/dev/null)" ]; do sleep 2; done

# Names what is missing, if something is.
cd "$root"
cargo xtask report --merge "$dir/parts" --format json --output "$dir/report.json"
echo "$dir/report.json" >&2
