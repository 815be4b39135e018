#!/bin/sh
# Installs what tests/kernel and tests/dist need, and bash's own completion, where that is possible: as root, with apt-get.
# Elsewhere, and where apt-get fails, those tests are skipped, which the summary says loudly (with CI=true it is a failure).
set -u
PATH="$PATH:/usr/sbin:/sbin"

packages=
has() { command -v "$1" >/dev/null 2>&1; }
has ip || packages=" iproute2"
has iptables-nft-restore && has iptables-legacy-restore || packages="$packages iptables"
[ -f /usr/share/bash-completion/bash_completion ] || packages="$packages bash-completion"
has objdump && has strip || packages="$packages binutils"
[ -n "$packages" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! has apt-get; then
    echo "the tests need$packages (Debian's names), and root" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # one word for each package
apt-get install --yes --no-install-recommends $packages ||
    { apt-get update && apt-get install --yes --no-install-recommends $packages; } || exit 0
