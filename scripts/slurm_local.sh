#!/usr/bin/env bash
# A real Slurm on one node, to try hydra/launcher=submitit_slurm: scripts/slurm_local.sh start|stop|status
# Run it as root, on a machine that you throw away afterwards. On Debian: apt-get install slurm-wlm munge
set -euo pipefail

STATE="${SLURM_LOCAL_DIR:-/run/slurm-local}"
CONF="$STATE/slurm.conf"
export SLURM_CONF="$CONF"

fail() {
    echo "scripts/$(basename "$0"): $1" >&2
    exit 2
}

check() {
    local program
    if [[ "$(id -u)" != 0 ]]; then
        fail "only root can start Slurm's daemons; use a container or a machine that you throw away afterwards"
    fi
    for program in munged slurmctld slurmd sinfo; do
        if ! command -v "$program" > /dev/null; then
            fail "$program is not installed; on Debian: apt-get install slurm-wlm munge"
        fi
    done
}

# Whether a process that this script started is alive; $1.pid holds its id.
alive() {
    [[ -s "$STATE/$1.pid" ]] && kill -0 "$(cat "$STATE/$1.pid")" 2> /dev/null
}

write_conf() {
    local host
    host="$(hostname -s)"
    # A requeued job waits for its credential to expire, by default two minutes: hence cred_expire.
    cat > "$CONF" <<END
ClusterName=local
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthInfo=socket=$STATE/socket/munge,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MpiDefault=none
StateSaveLocation=$STATE/ctld
SlurmdSpoolDir=$STATE/spool
SlurmctldPidFile=$STATE/slurmctld.pid
SlurmdPidFile=$STATE/slurmd.pid
SlurmctldLogFile=$STATE/slurmctld.log
SlurmdLogFile=$STATE/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
}

start() {
    check
    if alive slurmctld && alive slurmd; then
        echo "It is running already.  export SLURM_CONF=$CONF"
        return
    fi
    # Munge wants its files in folders of its own user, and the socket in one that everybody can enter.
    mkdir -p "$STATE/ctld" "$STATE/spool" "$STATE/munge" "$STATE/socket"
    head -c 1024 /dev/urandom > "$STATE/munge/key"
    chmod 400 "$STATE/munge/key"
    chown -R munge "$STATE/munge" "$STATE/socket"
    chmod 755 "$STATE"
    write_conf
    runuser -u munge -- munged --key-file="$STATE/munge/key" --socket="$STATE/socket/munge" \
        --pid-file="$STATE/munge/munged.pid" --log-file="$STATE/munge/munged.log" --seed-file="$STATE/munge/seed"
    slurmctld -f "$CONF"
    slurmd -f "$CONF"
    for _ in $(seq 100); do
        if sinfo --noheader --states=idle 2> /dev/null | grep -q idle; then
            echo "Slurm runs, with one node.  export SLURM_CONF=$CONF"
            return
        fi
        sleep 0.2
    done
    tail -n 5 "$STATE"/slurm*.log >&2
    stop
    fail "the node did not become ready"
}

stop() {
    check
    if alive slurmctld; then
        scancel --user=root 2> /dev/null || true
        sleep 1
    fi
    local name file
    for name in slurmd slurmctld munge/munged; do
        file="$STATE/$name.pid"
        [[ -s "$file" ]] || continue
        kill "$(cat "$file")" 2> /dev/null || true
        for _ in $(seq 50); do
            alive "$name" || break
            sleep 0.1
        done
    done
    rm -rf "$STATE"
    echo "Slurm is stopped."
}

status() {
    check
    if alive slurmctld && alive slurmd; then
        echo "Slurm runs.  export SLURM_CONF=$CONF"
        sinfo
        squeue
    else
        echo "Slurm does not run."
        exit 1
    fi
}

case "${1:-}" in
    start | stop | status) "$1" ;;
    *) fail "say start, stop or status" ;;
esac
