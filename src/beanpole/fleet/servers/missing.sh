# Which of the digests on stdin are not among the blobs. Builtins alone: there may be thousands.
set -eu
while read -r digest; do
    rest=${digest#??}
    if [ ! -f "$BLOBS/${digest%"$rest"}/$digest" ]; then printf '@ missing %s\n' "$digest"; fi
done
