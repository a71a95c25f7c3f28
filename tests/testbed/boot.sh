# Runs as the parent of one host's init, in a mount namespace of its own: what it mounts is gone with it.
# Given by the environment: HOST_HOME, BASE, NAME, MACHINE, CGROUPS, PATH.
set -eu
for group in $CGROUPS; do echo $$ > "$group/cgroup.procs"; done
mount -o loop,noatime,noinit_itable "$HOST_HOME/disk.img" "$HOST_HOME/mnt"
mkdir -p "$HOST_HOME/mnt/upper" "$HOST_HOME/mnt/work"
mount -t overlay -o "lowerdir=$BASE,upperdir=$HOST_HOME/mnt/upper,workdir=$HOST_HOME/mnt/work" testbed "$HOST_HOME/root"
if [ ! -e "$HOST_HOME/mnt/seeded" ]; then
    (cd "$HOST_HOME/seed" && find . -type f) |
        while read -r file; do cp -p "$HOST_HOME/seed/$file" "$HOST_HOME/root/$file"; done
    : > "$HOST_HOME/mnt/seeded"
fi
status=133 # what systemd-nspawn returns after a reboot
while [ "$status" = 133 ]; do
    status=0
    # Again each time: the host's systemd moved the supervisor out of the group.
    for group in $CGROUPS; do echo $$ > "$group/cgroup.procs"; done
    env -i PATH="$PATH" LANG=C.UTF-8 SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_TMPFS_TMP=0 \
        SYSTEMD_NSPAWN_LOCK=0 systemd-nspawn --quiet --boot --directory="$HOST_HOME/root" --machine="$MACHINE" \
        --hostname="$NAME" --register=no --keep-unit --network-namespace-path="/run/netns/$MACHINE" \
        --console=pipe --link-journal=no --timezone=off --resolv-conf=off --capability=CAP_NET_ADMIN \
        --system-call-filter='pidfd_getfd bpf' || status=$?
    rmdir "/run/systemd/nspawn/propagate/$MACHINE" 2> /dev/null || true
done
echo "testbed: $NAME went off by itself ($status)"
ip netns del "$MACHINE"
