#!/usr/bin/env bash
# Builds the wheels of the packages:  scripts/wheels.sh FOLDER
#
# The version stands in each package's pyproject.toml, so that uv.lock and an editable install know it too. On a commit with
# a tag vX.Y.Z all of them must say X.Y.Z; on one without a tag the wheels are of the version that is being worked on.
set -euo pipefail
folder=$(realpath -m "${1:?the folder for the wheels}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(crds monitoring operator runner)
tag=$(git describe --tags --exact-match --match 'v[0-9]*' 2>/dev/null || true)
for package in "${packages[@]}"; do
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$package/pyproject.toml" | head -n 1)
    if [[ -n $tag && $version != "${tag#v}" ]]; then
        echo "wheels: the tag is $tag and $package/pyproject.toml says version $version: they must agree" >&2
        echo "hint: set the version in all of ${packages[*]}, run \`uv lock\`, commit, and tag that commit" >&2
        exit 1
    fi
done
[[ -n $tag ]] || echo "wheels: this commit has no tag; building version $version, as pyproject.toml says" >&2
rm -rf "$folder"
uv build --quiet --wheel --all-packages --out-dir "$folder"
ls "$folder"/*.whl
