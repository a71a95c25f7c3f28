# An agent's unit is there, enabled, and running, with its user.
# $1: the unit  $2: its text  $3: its user, or nothing  $4: that user's home
set -eu
umask 022
export LC_ALL=C

if [ -n "$3" ] && ! getent passwd "$3" >/dev/null; then
    shell=/bin/false
    for path in /sbin/nologin /usr/sbin/nologin; do
        if [ -x "$path" ]; then shell=$path; fi
    done
    group=--user-group
    if getent group "$3" >/dev/null; then group="--gid $3"; fi
    useradd --system --no-log-init --no-create-home $group --home-dir "$4" --shell "$shell" --comment Beanpole "$3"
fi

# What an earlier Beanpole left to stand in for the agent beside a balancer. Envoy goes on: the agent takes it up.
for name in "$PROXY" "$EDGE"; do
    stand_in=$UNITS/beanpole-$name.service
    if [ "$1" = "beanpole-agent-$name.service" ] && [ -e "$stand_in" ]; then
        sed -i 's/^KillMode=.*/KillMode=none/' "$stand_in"
        systemctl daemon-reload
        systemctl disable --quiet --now "beanpole-$name.service"
        rm -f "$stand_in" "$ROOT/$name/start.sh"
        systemctl daemon-reload
    fi
done

file=$UNITS/$1
again=no
if [ ! -f "$file" ] || [ "$(cat "$file")" != "$(printf '%s' "$2")" ]; then
    if [ -e "$file" ]; then again=yes; fi
    # Its name is no unit's until it is whole.
    draft=$UNITS/.$1.$$
    trap 'rm -f "$draft"' EXIT
    printf '%s' "$2" >"$draft"
    chmod 0644 "$draft"
    sync "$draft"
    mv -f "$draft" "$file"
    systemctl daemon-reload
fi
systemctl reset-failed "$1" 2>/dev/null || :
systemctl enable --quiet "$1"
# Both end nothing but the agent itself: KillMode=process.
if [ "$again" = yes ]; then systemctl restart "$1"; else systemctl start "$1"; fi
