# Takes the agent's program on stdin: nothing is there yet that could receive it in another way.
# $1: its SHA-256  $2: its name
set -eu
umask 022
draft=$PROGRAMS/.$2.$$
trap 'rm -f "$draft"' EXIT
cat >"$draft"
found=$(sha256sum <"$draft")
if [ "${found%% *}" != "$1" ]; then
    echo "what came has SHA-256 ${found%% *}, not $1" >&2
    exit 3
fi
sync "$draft"
mv -f "$draft" "$PROGRAMS/$2"
