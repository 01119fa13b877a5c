#!/usr/bin/env bash
# Install the Debian packages that nodes of a test cluster need, and print them. Without root or on other systems only print them.
set -euo pipefail

packages=(containerd runc containernetworking-plugins iptables conntrack iproute2 util-linux mount openssl
          buildah debootstrap busybox-static)
wanted=()
for package in "${packages[@]}"; do
    [[ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)" == "install ok installed" ]] || wanted+=("$package")
done
[[ ${#wanted[@]} -gt 0 ]] || exit 0

if [[ $EUID -ne 0 ]] || ! grep -qs '^ID=debian' /etc/os-release; then
    echo "the test cluster needs these packages, which only root on Debian can install: ${wanted[*]}" >&2
    exit 1
fi
echo "the test cluster needs these packages, which apt-get installs now: ${wanted[*]}" >&2
apt-get update -qq
# Only the CNI plugins, the runtime and the tools are needed: no service is started.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >&2
