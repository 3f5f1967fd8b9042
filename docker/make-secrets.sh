#!/bin/sh
# Makes the keys of the compose file, once: docker/secrets/ (git-ignored). The folder is its owner's; the files are readable, as
# containers see them under other users. Prints nothing secret.
set -eu
umask 077
secrets=${1:-$(dirname "$0")/secrets}
mkdir -p "$secrets"
new_key() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
if [ ! -e "$secrets/crosscheck-keys.yaml" ]; then
  metrics=$(new_key)
  operator=$(new_key)
  client=$(new_key)
  cat > "$secrets/crosscheck-keys.yaml" <<YAML
keys:
  - { name: operator, key: $operator, roles: [infer, control, metrics] }
  - { name: client, key: $client, roles: [infer] }
  - { name: prometheus, key: $metrics, roles: [metrics] }
YAML
  printf %s "$metrics" > "$secrets/prometheus-key"
fi
[ -e "$secrets/grafana-admin" ] || new_key > "$secrets/grafana-admin"
chmod 644 "$secrets"/*
echo "keys are in $secrets: crosscheck-keys.yaml (operator, client), grafana-admin (user admin)"
