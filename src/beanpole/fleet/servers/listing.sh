# What has been there for longer than so many minutes: blobs, dependency layers, programs.
# $1: minutes
set -eu
age() { if [ -d "$1" ]; then find "$1" -mindepth "$2" -maxdepth "$2" -type "$3" ! -name '.*' -mmin "+$4"; fi; }
age "$BLOBS" 2 f "$1" | sed -n 's|.*/\([0-9a-f]*\)$|@ blob \1|p'
age "$LAYERS" 1 d "$1" | sed 's|.*/|@ layer |'
age "$BINARIES" 1 f "$1" | sed 's|.*/|@ binary |'
