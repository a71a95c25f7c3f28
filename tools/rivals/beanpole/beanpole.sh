#!/bin/bash
# What a user types, and around it what the bench asks of a contender; README.md says why.
set -eu
PATH=$BENCH_WORK/venv-beanpole/bin:$PATH
BENCH_SCRATCH=${BENCH_SCRATCH:-$BENCH_WORK/scratch/beanpole} # `down` is no command of the bench's
export BEANPOLE_HOME=$BENCH_SCRATCH/home
folder=$BENCH_SCRATCH/app
cgroup=/sys/fs/cgroup/cpuacct$(sed -n 's/^[0-9]*:[^:]*cpuacct[^:]*:\(\/.*\)/\1/p' /proc/self/cgroup)
unset AWS_ENDPOINT_URL "${!PIP_@}" "${!UV_@}"
export PIP_CONFIG_FILE=/dev/null PIP_NO_INDEX=1 PIP_FIND_LINKS=${BENCH_INDEX:-}
PIP_TRUSTED_HOST=$(sed 's,.*//\([^:/]*\).*,\1,' <<<"$PIP_FIND_LINKS")
export PIP_TRUSTED_HOST

options=(
    --option aws:elasticbeanstalk:container:python:WSGIPath=wsgi:app
    --option aws:elasticbeanstalk:container:python:NumProcesses=2
    --option aws:elasticbeanstalk:container:python:NumThreads=16
    --option aws:elasticbeanstalk:environment:process:default:HealthCheckPath=/health
    --option aws:elasticbeanstalk:environment:process:default:DeregistrationDelay=10
    --option beanpole:deployment:StartTimeout=15
    --option beanpole:deployment:GateChecks=1
)

control_plane() {
    sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$BEANPOLE_HOME/control-plane.json" 2>/dev/null || :
}

up() {
    pid=$(control_plane)
    if [ -n "$pid" ] && [ -d "/proc/$pid" ]; then
        echo "$pid" >"$cgroup/cgroup.procs" # what it does from here on is this deploy's processor time
        return
    fi
    beanpole up --detach --api-port "${BEANPOLE_API_PORT:-8600}" --port "${BEANPOLE_PORT:-18081}"
}

stay_up() {
    [ -z "${BEANPOLE_COLD:-}" ] || return 0
    while read -r pid; do
        [ "$pid" = $$ ] || echo "$pid" >"${cgroup%/*}/cgroup.procs" 2>/dev/null || : # some have ended
    done <"$cgroup/cgroup.procs"
}

hosts() {
    [ -e "$BENCH_SCRATCH/hosts" ] && return
    beanpole hosts add --yes --app-port 8000 --ssh-config "$BENCH_SSH_CONFIG"
    touch "$BENCH_SCRATCH/hosts"
}

links() { # the bench looks there for the version that a restart would bring
    local host
    [ -e "$BENCH_SCRATCH/links" ] && return
    for host in $BENCH_HOSTS; do
        ssh -F "$BENCH_SSH_CONFIG" "$host" sudo sh -eu <<'LINK'
mkdir -p /srv/app
ln -sfn /var/lib/beanpole/instances/i-*/current/app /srv/app/current
LINK
    done
    touch "$BENCH_SCRATCH/links"
}

deploy() {
    local more=()
    [ -e "$BENCH_SCRATCH/links" ] || more=(--instances "$(echo "$BENCH_HOSTS" | wc -w)")
    rm -rf "$folder"
    cp -r "$BENCH_SRC" "$folder"
    beanpole deploy "$folder" --application app --environment app-dev --label "$BENCH_VERSION" --yes \
        --policy rolling --batch-size "$BENCH_BATCH" "${options[@]}" "${more[@]}"
}

if [ "$1" = down ]; then
    exec beanpole down --all --yes
fi
trap stay_up EXIT
up
case $1 in
deploy)
    hosts
    deploy
    links
    ;;
rollback)
    if [ "$(cat "$BENCH_SCRATCH/runs")" = "$BENCH_VERSION" ]; then
        deploy # after a deploy that failed: all is as it was already
    else
        beanpole rollback app-dev --yes
    fi
    ;;
esac
echo "$BENCH_VERSION" >"$BENCH_SCRATCH/runs"
