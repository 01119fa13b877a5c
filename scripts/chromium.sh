#!/usr/bin/env bash
# Bring the headless Chromium that tests look at reports with, and print its path:  scripts/chromium.sh
#
# A Chromium on the PATH is taken as it is. Else Debian's package and the libraries that it lacks here are downloaded with
# apt-get, whose signatures vouch for them, and unpacked into the cache: nothing is installed, and no root is needed.
# Debian keeps only the newest security update of a browser, so that no version can be pinned; the folder is named by it.
set -euo pipefail
shopt -s inherit_errexit

cache=${XDG_CACHE_HOME:-$HOME/.cache}/evalrun/chromium
package=chromium-headless-shell

for name in chromium-headless-shell chromium google-chrome; do
    if command -v "$name"; then exit 0; fi
done
if [[ -x $cache/chromium ]]; then
    echo "$cache/chromium"
    exit 0
fi
if ! grep -qs '^ID=debian' /etc/os-release || ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "chromium: there is none on the PATH, and only on Debian it can be fetched: tests that need a browser are skipped" >&2
    exit 1
fi

mkdir -p "$cache/packages"
trap 'rm -rf "$cache/packages"' EXIT
wanted=$(apt-get install --simulate --no-install-recommends "$package" | awk '$1 == "Inst" { print $2 }')
version=$(apt-cache policy "$package" | awk '$1 == "Candidate:" { print $2 }')
if [[ -z $wanted || -z $version ]]; then
    echo "chromium: apt-get knows no package $package; hint: apt-get update" >&2
    exit 1
fi
echo "chromium: fetching $package $version and the libraries that it needs ($(wc -w <<<"$wanted") packages)" >&2
# The user _apt, as whom root's apt-get downloads, may not write there.
(cd "$cache/packages" && apt-get download -qq -o APT::Sandbox::User=root $wanted >&2)
rm -rf "$cache/$version"
mkdir -p "$cache/$version"
for file in "$cache"/packages/*.deb; do dpkg-deb -x "$file" "$cache/$version"; done
program=$cache/$version/usr/lib/chromium/$package
if [[ ! -x $program ]]; then
    echo "chromium: $package $version has no program $program" >&2
    exit 1
fi
cat >"$cache/chromium.new" <<END
#!/bin/sh
libraries='$cache/$version/usr/lib/x86_64-linux-gnu'
LD_LIBRARY_PATH="\$libraries:\$libraries/pulseaudio" exec '$program' "\$@"
END
chmod +x "$cache/chromium.new"
mv "$cache/chromium.new" "$cache/chromium"
echo "$cache/chromium"
