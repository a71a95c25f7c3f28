# Removes what stdin names: lines `blob DIGEST`, `layer KEY`, `binary NAME`.
set -eu
while read -r kind name; do
    case $kind in
    blob) rm -f "$BLOBS/$(printf %.2s "$name")/$name" ;;
    layer) rm -rf "${LAYERS:?}/$name" "$LAYERS/.$name.lock" ;;
    binary)
        # The agent beside a balancer starts that one again until it is told of another.
        if grep -qsF "$BINARIES/$name" "$ROOT/$PROXY/envoy.json" "$ROOT/$EDGE/envoy.json"; then continue; fi
        rm -f "$BINARIES/$name"
        ;;
    esac
done
