# The instances there whose agents are this Beanpole's; none when another one holds the server.
# $1: our store
set -eu
export LC_ALL=C

[ "$(sed -n 's/.*"store" *: *"\([^"]*\)".*/\1/p' "$HOLDER" 2>/dev/null | sed -n 1p)" = "$1" ] || exit 0
for unit in "$UNITS"/beanpole-agent-i-*.service; do
    # Applications that a Beanpole left have no such unit any more.
    if grep -qs -e " --store $1 " "$unit"; then
        name=${unit##*/beanpole-agent-}
        printf '@ instance %s\n' "${name%.service}"
    fi
done
