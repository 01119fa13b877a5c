#!/usr/bin/env bash
# Writes a plain Debian 12 root file system, like debian:12-slim, as a tar to the file named. For machines that reach a Debian
# mirror but no image registry. Needs root and debootstrap; DEBIAN_MIRROR names another mirror (it is not kept in the image).
set -euo pipefail
output=${1:?the tar to write}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
command -v debootstrap >/dev/null || { echo "no base image can be pulled and debootstrap is not installed: apt-get install debootstrap, or set BASE_IMAGE" >&2; exit 1; }
[[ $EUID == 0 ]] || { echo "no base image can be pulled, and debootstrap needs root: run as root, or set BASE_IMAGE" >&2; exit 1; }

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase bookworm "$root" "$mirror" >&2

# As debian:12-slim: no documentation, and none from packages installed later.
cat >"$root/etc/dpkg/dpkg.cfg.d/slim" <<'CFG'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
CFG
find "$root/usr/share/doc" -type f ! -name copyright -delete
find "$root/usr/share/doc" -depth -type d -empty -delete
rm -rf "$root"/usr/share/{info,locale,man}/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/dev/*
: >"$root/etc/resolv.conf"
echo localhost >"$root/etc/hostname"
cat >"$root/etc/apt/sources.list" <<'LIST'
deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main
LIST
tar -C "$root" --numeric-owner -cf "$output.new" .
mv "$output.new" "$output"
