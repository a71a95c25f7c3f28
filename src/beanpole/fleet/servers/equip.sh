# Programs get their names, and the links to the present ones are switched.
# $1: the Python that runs the agent's program  $2: that program; then pairs of a binary's name and its SHA-256, which is among the blobs.
set -eu
umask 022

# link TARGET PATH: at no moment there is none.
link() {
    ln -sfn "$1" "$2.$$"
    mv -fT "$2.$$" "$2"
}

python=$1
program=$2
shift 2
# Before anything depends on it. What it says otherwise goes to whoever asked.
"$python" -I "$PROGRAMS/$program" --version >/dev/null

while [ $# -gt 0 ]; do
    if [ ! -f "$BINARIES/$1" ]; then
        blob=$BLOBS/$(printf %.2s "$2")/$2
        draft=$BINARIES/.$1.$$
        ln "$blob" "$draft" 2>/dev/null || cp "$blob" "$draft"
        chmod 0755 "$draft"
        mv -f "$draft" "$BINARIES/$1"
    fi
    case $1 in uv-*) link "$1" "$BINARIES/uv" ;; esac
    shift 2
done

# The one before stays: agents may still run it.
before=$(readlink "$PROGRAM" || :)
for path in "$PROGRAMS"/agent-*.pyz; do
    case ${path##*/} in
    "$program" | "$before") ;;
    *) rm -f "$path" ;;
    esac
done
link "$program" "$PROGRAM"
sync "$PROGRAMS" "$BINARIES"
