# Sees to it that this Beanpole holds the server, makes the folders, and says what of ours is there.
# $1: our store  $2: the time  $3: `force` takes the server over  $4: architectures that we have programs for
# $5: the Python that was chosen before, or nothing
set -eu
umask 022
export LC_ALL=C

say() { printf '@ %s\n' "$*"; }

# field NAME FILE: the text of that name in a JSON object of ours.
field() {
    if [ -f "$2" ]; then sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p" "$2" | sed -n 1p; fi
}

# Nothing is changed on a server that cannot be used.
machine=$(uname -m)
say machine "$machine"
case " $4 " in
*" $machine "*) ;;
*) exit 0 ;;
esac

[ -d "$ROOT" ] || install -d -m 0711 "$ROOT"
if [ "$(field store "$HOLDER")" != "$1" ]; then
    draft=$HOLDER.$$
    trap 'rm -f "$draft"' EXIT
    printf '{"store":"%s","since":"%s"}\n' "$1" "$2" >"$draft"
    sync "$draft"
    if [ "$3" = force ]; then
        mv -f "$draft" "$HOLDER"
    # A link is made by one only, when two come at the same time.
    elif ! ln "$draft" "$HOLDER" 2>/dev/null && [ "$(field store "$HOLDER")" != "$1" ]; then
        say held "$(field store "$HOLDER")" "$(field since "$HOLDER")"
        exit 0
    fi
    rm -f "$draft"
fi
say ours

install -d -m 0711 "$ROOT" "$INSTANCES"
install -d -m 0755 "$PROGRAMS" "$BINARIES" "$LAYERS"
install -d -m 0700 "$BLOBS" "$SOCKETS"

for path in "$PROGRAMS"/agent-*.pyz "$BINARIES"/*-*; do
    if [ -f "$path" ]; then say file "${path##*/}"; fi
done
for path in "$PROGRAM" "$BINARIES/uv"; do
    if [ -L "$path" ]; then say file "$(readlink "$path")" "${path##*/}"; fi
done
if [ -n "$5" ] && [ -x "$5" ]; then say python; fi
for unit in "$UNITS"/beanpole-agent-*.service; do
    [ -f "$unit" ] || continue
    name=${unit##*/beanpole-agent-}
    name=${name%.service}
    case $name in
    "$PROXY" | "$EDGE") home=$ROOT/$name ;;
    *) home=$INSTANCES/$name ;;
    esac
    version=$(field version "$home/agent.json")
    protocols=$(sed -n 's/.*"protocol" *: *\[\([0-9]*\), *\([0-9]*\)\].*/\1 \2/p' "$home/agent.json" 2>/dev/null || :)
    say agent "$name" "${version:--}" ${protocols:-0 0}
done
