#!/usr/bin/env bash
# What the nodes of a test cluster need from Debian. Says what it installs; on anything but Debian as root it only says what is needed.
set -euo pipefail

packages=(containerd runc containernetworking-plugins iptables conntrack iproute2 util-linux mount openssl
          buildah debootstrap busybox-static)
wanted=()
for package in "${packages[@]}"; do
    [[ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)" == "install ok installed" ]] || wanted+=("$package")
done
[[ ${#wanted[@]} -gt 0 ]] || exit 0

if [[ $EUID -ne 0 ]] || ! grep -qs '^ID=debian' /etc/os-release; then
    echo "the test cluster needs these packages, which only root on Debian gets from here: ${wanted[*]}" >&2
    exit 1
fi
echo "the test cluster needs, and apt-get installs now: ${wanted[*]}" >&2
apt-get update -qq
# Only the CNI plugins, the runtime and the tools: no service of theirs is started.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >&2
