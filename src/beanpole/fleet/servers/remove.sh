# Removes what we made. Every part may be missing, and all of it may be repeated after a cut.
# instance NAME      an instance: what runs on it ends, and nothing of it is left
# edge               the edge balancer, as an instance
# leave STORE FORCE  Beanpole alone: applications and balancers go on, after a boot, too
# purge STORE FORCE  everything
set -eu
umask 022
export LC_ALL=C

say() { printf '@ %s\n' "$*"; }

# pids PATTERN FILE: processes in whose /proc/PID/FILE the pattern is.
pids() { grep -ls "$1" /proc/[0-9]*/"$2" 2>/dev/null | cut -d / -f 3 | grep -vx "$$" || :; }

# end PATTERN FILE: those processes end; the ones that do not within ten seconds are killed.
end() {
    for signal in TERM KILL; do
        left=$(pids "$1" "$2")
        [ -n "$left" ] || return 0
        # Not quoted: they are words. One may be gone by now.
        kill -s "$signal" $left 2>/dev/null || :
        tries=0
        while [ -n "$(pids "$1" "$2")" ] && [ $tries -lt 100 ]; do
            sleep 0.1
            tries=$((tries + 1))
        done
    done
}

# units PATTERN: the units of that name that there are, as files, links, or in systemd's memory.
units() {
    {
        for path in "$UNITS"/$1 "$UNITS"/multi-user.target.wants/$1; do
            if [ -e "$path" ] || [ -L "$path" ]; then printf '%s\n' "${path##*/}"; fi
        done
        systemctl list-units --all --plain --no-legend --full "$1" | cut -d ' ' -f 1
    } | sort -u
}

# end_units PATTERN: all of them stop, with whatever they have started, and are gone.
end_units() {
    found=$(units "$1")
    [ -n "$found" ] || return 0
    systemctl stop $found 2>/dev/null || :
    for unit in $found; do end "/$unit\$" cgroup; done
    remove_units $found
}

remove_units() {
    for unit; do
        rm -rf "$UNITS/$unit" "$UNITS/$unit.d" "$UNITS/multi-user.target.wants/$unit"
        rm -rf "/run/systemd/system/$unit" "/run/systemd/system/$unit.d"
    done
    systemctl daemon-reload
    systemctl reset-failed "$@" 2>/dev/null || :
}

# remove_user NAME: and the group of that name.
remove_user() {
    if uid=$(id -u "$1" 2>/dev/null); then
        end "^Uid:[[:space:]]*$uid[[:space:]]" status
        userdel "$1"
    fi
    if getent group "$1" >/dev/null; then groupdel "$1"; fi
}

# remove_links FOLDER: links in /var/app that lead into it, and /var/app itself when nothing else is there.
remove_links() {
    gone=no
    for path in /var/app/*; do
        [ -L "$path" ] || continue
        case $(readlink "$path") in
        "$1" | "$1"/*)
            rm -f "$path"
            gone=yes
            ;;
        esac
    done
    if [ $gone = yes ]; then rmdir /var/app 2>/dev/null || :; fi
}

# remove_tree FOLDER…: more than once, because what has just ended may still have written.
remove_tree() { rm -rf "$@" 2>/dev/null || { sleep 1 && rm -rf "$@"; }; }

remove_instance() {
    end_units "beanpole-agent-$1.service"
    end_units "beanpole-$1-*.service"
    remove_links "$INSTANCES/$1"
    rm -f "$SOCKETS/$1.sock"
    remove_tree "$INSTANCES/$1"
    remove_user "bp-$1"
}

remove_edge() {
    end_units "beanpole-agent-$EDGE.service"
    rm -f "$SOCKETS/$EDGE.sock"
    remove_tree "$ROOT/$EDGE"
}

# check_holder STORE FORCE: ends the script when another Beanpole holds the server.
check_holder() {
    [ -f "$HOLDER" ] || return 0
    store=$(sed -n 's/.*"store" *: *"\([^"]*\)".*/\1/p' "$HOLDER" | sed -n 1p)
    if [ "$store" != "$1" ] && [ "$2" != force ]; then
        say held "$store" "$(sed -n 's/.*"since" *: *"\([^"]*\)".*/\1/p' "$HOLDER" | sed -n 1p)"
        exit 0
    fi
}

# keep_balancer NAME: Envoy runs on, as the process of a unit, which starts the same one again when it dies and at boot.
keep_balancer() {
    newest=0
    for path in /proc/[0-9]*; do
        case $(readlink "$path/exe" 2>/dev/null || :) in
        "$BINARIES"/envoy-*) ;;
        *) continue ;;
        esac
        folder=$(readlink "$path/cwd")
        case $folder in
        "$ROOT/$1"/*) ;;
        *) continue ;;
        esac
        # Those that were replaced, and only finish their requests, have lower numbers.
        if [ "${folder##*/}" -gt $newest ]; then
            newest=${folder##*/}
            words=$(tr '\0' ' ' <"$path/cmdline")
            pid=${path##*/}
            kept=$folder
        fi
    done
    [ $newest -gt 0 ] || return 0
    cat >"$ROOT/$1/start.sh" <<END
# The Envoy that ran when Beanpole left becomes this unit's as it is; another is started when that one is no more.
set -eu
pid=$pid
if [ "\$(readlink /proc/\$pid/cwd)" = "$kept" ]; then
    while IFS=: read -r number controllers group; do
        case \$number:\$controllers in
        0: | *:name=systemd) ;;
        *) continue ;;
        esac
        for mount in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
            place=\$mount\$group/cgroup.procs
            if [ -e "\$place" ]; then echo "\$pid" >"\$place" || :; fi
        done
    done </proc/self/cgroup
else
    # An agent that comes back finds it by its mark.
    rm -f admin.sock process.json
    env -i PATH=/usr/bin:/bin "BEANPOLE_PROCESS=$ROOT/$1:envoy-$newest:" $words &
    pid=\$!
fi
echo "\$pid" >/run/beanpole-$1.pid
END
    cat >"$UNITS/beanpole-$1.service" <<END
[Unit]
Description=Balancer that Beanpole left here ($1)
After=network.target
# Nobody is there to start it again if it gave up.
StartLimitIntervalSec=0

[Service]
Type=forking
PIDFile=/run/beanpole-$1.pid
WorkingDirectory=$kept
ExecStart=/bin/sh $ROOT/$1/start.sh
LimitNOFILE=65536
KillMode=control-group
Restart=always
RestartSec=100ms

[Install]
WantedBy=multi-user.target
END
    systemctl daemon-reload
    systemctl enable --quiet "beanpole-$1.service"
}

leave() {
    check_holder "$1" "$2"
    keep_balancer "$PROXY"
    keep_balancer "$EDGE"
    agents=$(units 'beanpole-agent-*.service')
    if [ -n "$agents" ]; then
        # What they keep running goes on: KillMode=process.
        systemctl stop $agents
        remove_units $agents
    fi
    for name in "$PROXY" "$EDGE"; do
        # Now that no agent would start an Envoy of its own when this one dies.
        if [ -e "$UNITS/beanpole-$name.service" ]; then systemctl start "beanpole-$name.service"; fi
    done
    rm -rf "$SOCKETS" "$PROGRAMS" "$BLOBS" "$BINARIES"/uv*
    rm -f "$HOLDER"
}

purge() {
    check_holder "$1" "$2"
    # The agents first: they would start again what they find ended.
    end_units 'beanpole-agent-*.service'
    end_units 'beanpole-*.service'
    remove_links "$ROOT"
    for name in $({ getent passwd && getent group; } | sed -n 's/^\(bp-i-[0-9a-z]*\):.*/\1/p' | sort -u); do
        remove_user "$name"
    done
    rm -rf "$SOCKETS"
    if [ -d "$ROOT" ]; then
        # Who holds it is told until nothing else is left.
        for path in "$ROOT"/* "$ROOT"/.[!.]*; do
            if [ "$path" != "$HOLDER" ]; then remove_tree "$path"; fi
        done
        rm -f "$HOLDER"
        # It may be a link or a mount point, which somebody else made.
        rmdir "$ROOT" 2>/dev/null || :
    fi
}

verb=$1
shift
case $verb in
instance) remove_instance "$1" ;;
edge) remove_edge ;;
leave | purge) "$verb" "$1" "$2" ;;
esac
say removed
