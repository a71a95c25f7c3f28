# Builds one wheel from a source archive, offline, as a user who owns nothing here, and prints it as a tar.
# $1: unit  $2: seconds  $3: uv  $4: Python  $5: the archive's file name; then for it and each tool: file name and SHA-256.
set -eu
umask 022

unit=$1
seconds=$2
uv=$3
python=$4
archive=$5
shift 5
room=/var/lib/beanpole/$unit
trap 'rm -rf "$room"' EXIT
mkdir "$room" "$room/tools"
while [ $# -gt 0 ]; do
    if [ "$1" = "$archive" ]; then place=$room/$1; else place=$room/tools/$1; fi
    # A copy: whoever builds is not root, who alone may read blobs.
    cp "/var/lib/beanpole/blobs/$(printf %.2s "$2")/$2" "$place"
    chmod 0644 "$place"
    shift 2
done

# What the build prints goes to stderr; stdout is for the wheel. /tmp is the unit's own, and goes with it.
build='
"$1" build --wheel --no-config --offline --no-index --find-links "$2/tools" --python "$3" --out-dir /tmp/out "$2/$4" >&2
cd /tmp/out
exec tar -cf - *.whl
'
systemd-run --quiet --pipe --wait --collect --unit="$unit" \
    -p DynamicUser=yes -p PrivateTmp=yes -p PrivateNetwork=yes -p ProtectSystem=strict -p ProtectHome=yes \
    -p NoNewPrivileges=yes -p RuntimeMaxSec="$seconds" -p Nice=10 -p WorkingDirectory=/tmp \
    -E HOME=/tmp -E TMPDIR=/tmp -E UV_CACHE_DIR=/tmp/cache -E UV_PYTHON_DOWNLOADS=never -E LC_ALL=C.UTF-8 \
    /bin/sh -ec "$build" sh "$uv" "$room" "$python" "$archive"
