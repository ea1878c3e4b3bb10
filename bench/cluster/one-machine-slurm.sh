#!/usr/bin/env bash
# A Slurm on this machine alone, as its user, to try `slurm.sh` where there is no cluster:
#
#   bench/cluster/one-machine-slurm.sh start [DIR]    prints what to put into the environment
#   bench/cluster/one-machine-slurm.sh stop [DIR]
#
# Everything lies in DIR [default: target/slurm]. Needs Debian's slurm-wlm and munge.
set -euo pipefail
command=${1:?start or stop}
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=${2:-$root/target/slurm}
case $dir in /*) ;; *) dir=$PWD/$dir ;; esac

stop() {
    for daemon in slurmd slurmctld munged; do
        [ -s "$dir/$daemon.pid" ] || continue
        pid=$(cat "$dir/$daemon.pid")
        kill "$pid" 2>/dev/null || continue
        while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    done
}

start() {
    for program in munged mungekey slurmctld slurmd sbatch; do
        command -v "$program" >/dev/null || {
            echo "$program is missing: apt-get install slurm-wlm munge" >&2
            exit 2
        }
    done
    mkdir -p "$dir"/{state,spool}
    # munged takes a socket only in a folder that others can enter and nobody else can write to.
    run=$(mktemp -d)
    chmod 755 "$run"
    [ -e "$dir/munge.key" ] || mungekey --create --keyfile="$dir/munge.key"
    local cpus memory
    cpus=$(nproc)
    memory=$(awk '/MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
    cat >"$dir/slurm.conf" <<CONF
ClusterName=tessera
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$run/munge.socket
CryptoType=crypto/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
SlurmctldPort=26817
SlurmdPort=26818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
MpiDefault=none
ReturnToService=2
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=all Nodes=$(hostname -s) Default=YES MaxTime=INFINITE State=UP
CONF
    munged --force --key-file="$dir/munge.key" --socket="$run/munge.socket" \
        --pid-file="$dir/munged.pid" --seed-file="$dir/munged.seed" --log-file="$dir/munged.log"
    export SLURM_CONF=$dir/slurm.conf
    slurmctld -c
    slurmd -c
    for _ in $(seq 50); do
        [ "$(sinfo -h -o %T 2>/dev/null)" = idle ] && {
            echo "export SLURM_CONF=$SLURM_CONF"
            return
        }
        sleep 0.2
    done
    echo "Slurm is not ready; see $dir/*.log" >&2
    tail -5 "$dir"/*.log >&2
    exit 2
}

case $command in
start) start ;;
stop) stop ;;
*) echo "start or stop, not $command" >&2 && exit 2 ;;
esac
