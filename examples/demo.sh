#!/usr/bin/env bash
# The main job without a cluster, on a copy of examples/shop: rules of a workload, a connection followed, a check, an exclusion added, the rules again.
set -euo pipefail

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp "$(dirname "$0")"/shop/*.yaml "$copy"
cd "$copy"

kubectl() { # without a kubectl
  shift
  kubectl-fsm "$@"
}

show() {
  printf '\n$ %s\n' "$1"
  eval "$1"
}

echo "The effective rules of the next pod of deploy/web, from the manifests in examples/shop:"
show 'kubectl fsm rules deploy/web -n shop -f .'

echo
echo "Who takes a connection from there to the back end, and which rule says so:"
show 'kubectl fsm trace deploy/web svc/api:8080 -n shop -f . -o wide'

echo
echo "What is wrong there, and what mends it (redis is excluded at its clients only):"
show 'kubectl fsm check -f .' || true

echo
echo "The web pods are to reach the database on port 5432 without the sidecar, so its port goes on their template:"
show 'kubectl fsm exclude-port 5432 --workload=deploy/web -n shop --local -f web.yaml > edited.txt'
show 'diff -u web.yaml edited.txt' || true
show 'mv edited.txt web.yaml'

echo
echo "And the rules again: port 5432 is direct now, and the table says where that is configured:"
show 'kubectl fsm rules deploy/web -n shop -f .'
