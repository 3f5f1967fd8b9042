#!/bin/sh
# The places that are mounted, owned by the user of the image, and `crosscheck` as a command for docker exec.
# ROOT is for trying it elsewhere.
set -eu
ROOT=${ROOT:-}
install -d -o 1000 -g 1000 "$ROOT/models" "$ROOT/var/lib/crosscheck"
install -d "$ROOT/usr/local/bin"
printf '#!/bin/sh\nexec node /app/docker/crosscheck.mjs "$@"\n' > "$ROOT/usr/local/bin/crosscheck"
chmod 755 "$ROOT/usr/local/bin/crosscheck"
