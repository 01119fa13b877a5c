#!/usr/bin/env bash
# Build the images with Docker, or with buildah if there is no Docker:  scripts/images.sh [operator|runner|all]
#
# It prints one line per image: its name, its reference, and the directory of its OCI layout ("-" with Docker, which stores
# it). Layers in a layout are not compressed, and unchanged blobs are hard links to the previous layout: a change of code
# costs megabytes and seconds. If nothing changed, nothing is built. A layout's directory is named by the hash of its
# inputs and never changes.
#
#   IMAGES_EXTRA  cpu (default) or cuda: the engine in the runner's image
#   IMAGES_TOOL   docker or buildah; default: Docker if its engine answers
#   BASE_IMAGE    a Debian 12 image; default: debian:12-slim, or one made with debootstrap where it cannot be pulled
#
# The machine's package index (UV_DEFAULT_INDEX, PIP_INDEX_URL or pip.conf), proxy, certificates (SSL_CERT_FILE) and uv cache
# are used during the build and do not become part of the image.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/evalrun/images
extra=${IMAGES_EXTRA:-cpu}
public_base=docker.io/library/debian:12-slim

say() { echo "images: $*" >&2; }

fail() {
    say "$*"
    exit 1
}

reference() { echo "localhost/evalrun-$1:dev"; }

# Hash of the contents of all inputs of an image: 16 hexadecimal digits.
key() {
    local name=$1
    {
        echo "$name ${BASE_IMAGE:-} $([[ $name == operator ]] || echo "$extra")"
        find "Dockerfile.$name" .dockerignore scripts/images.sh scripts/images pyproject.toml uv.lock {crds,monitoring,operator,runner}/pyproject.toml \
            crds/src "$name/src" -type f -not -path '*/__pycache__/*' -not -path '*.egg-info/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    } | sha256sum | cut -c1-16
}

tool() {
    if [[ -n ${IMAGES_TOOL:-} ]]; then
        echo "$IMAGES_TOOL"
    elif command -v docker >/dev/null && docker info >/dev/null 2>&1; then
        echo docker
    elif command -v buildah >/dev/null; then
        echo buildah
    else
        fail "images are built with Docker or buildah, and neither is installed: install one (on Debian: apt-get install buildah)"
    fi
}

# Write what a build needs from this machine to two files, mounted while packages are installed: shell settings, certificates.
write_secrets() {
    local index certificates=${SSL_CERT_FILE:-${PIP_CERT:-${REQUESTS_CA_BUNDLE:-}}} file
    index=${UV_DEFAULT_INDEX:-${UV_INDEX_URL:-${PIP_INDEX_URL:-}}}
    for file in "${PIP_CONFIG_FILE:-}" ~/.config/pip/pip.conf ~/.pip/pip.conf /etc/pip.conf; do
        [[ -n $index || ! -f $file ]] || index=$(sed -n 's/^index-url *= *//p' "$file" | head -n 1)
    done
    : >"$1/registry.sh"
    : >"$1/ca.crt"
    [[ -z $index ]] || printf "export UV_DEFAULT_INDEX='%s' PIP_INDEX_URL='%s'\n" "$index" "$index" >>"$1/registry.sh"
    if [[ -n $certificates ]]; then
        cp -L "$certificates" "$1/ca.crt"
        echo 'export SSL_CERT_FILE=/run/ca.crt PIP_CERT=/run/ca.crt' >>"$1/registry.sh"
    fi
}

common_arguments() {
    local name=$1 secrets=$2 version revision
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$name/pyproject.toml" | head -n 1)
    revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
    [[ $revision == unknown || -z $(git status --porcelain -- "Dockerfile.$name" uv.lock crds "$name" 2>/dev/null) ]] || revision+=-dirty
    printf '%s\n' --file "Dockerfile.$name" --tag "$(reference "$name")" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
        --secret "id=registry,src=$secrets/registry.sh" --secret "id=ca,src=$secrets/ca.crt"
    [[ $name == operator ]] || printf '%s\n' --build-arg "EXTRA=$extra"
}

with_docker() {
    local name=$1 secrets=$2 arguments
    say "building $name with Docker"
    mapfile -t arguments < <(common_arguments "$name" "$secrets")
    [[ -z ${BASE_IMAGE:-} ]] || arguments+=(--build-arg "BASE_IMAGE=$BASE_IMAGE")
    DOCKER_BUILDKIT=1 docker build "${arguments[@]}" . >&2
}

# A separate storage, so that removing the cache removes everything.
b() { buildah --root "$cache/storage" --runroot "${XDG_RUNTIME_DIR:-/run}/evalrun-images" "$@"; }

# Return the base image: BASE_IMAGE, one built earlier, the public one, or one built now.
base_image() {
    local made
    made=localhost/evalrun-base:$(sha256sum scripts/images/base.sh | cut -c1-16)
    if [[ -n ${BASE_IMAGE:-} ]]; then
        echo "$BASE_IMAGE"
    elif b inspect --type image "$made" >/dev/null 2>&1; then
        echo "$made"
    elif b pull --quiet "$public_base" >/dev/null 2>&1; then
        echo "$public_base"
    else
        say "$public_base cannot be pulled: making a Debian base with debootstrap"
        scripts/images/base.sh "$1/base.tar"
        local container
        container=$(b from scratch)
        b add --quiet "$container" "$1/base.tar" / >/dev/null
        b commit --quiet --rm --disable-compression "$container" "$made" >/dev/null
        rm "$1/base.tar"
        echo "$made"
    fi
}

with_buildah() {
    local name=$1 work=$2 log=$cache/$1.log uv_cache base arguments
    uv_cache=${UV_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/uv}
    say "building $name with buildah; progress is in $log"
    mkdir -p "$uv_cache"
    b rm --all >/dev/null # of builds that were interrupted
    layouts "$name" | tail -n +2 | xargs -r rm -rf
    base=$(base_image "$work")
    mapfile -t arguments < <(common_arguments "$name" "$work")
    # TMPDIR: layers are gathered there, and what an interrupted build left there is removed by the next.
    TMPDIR=$work b bud --isolation chroot --layers --format oci --build-arg "BASE_IMAGE=$base" \
        --volume "$uv_cache:/uv-cache" --build-arg UV_CACHE_DIR=/uv-cache "${arguments[@]}" . >"$log" 2>&1 ||
        fail "$(tail -n 25 "$log")" "(full log: $log)" "$(hint "$log")"
    # Keep the layers that this build used for the next one, and delete those of older builds.
    sed -n -E 's/^--> (Using cache )?([0-9a-f]{11}).*/\2/p' "$log" >"$cache/$name.layers"
    forget_old_layers
}

hint() {
    ! grep -qi "no space left" "$1" ||
        echo "hint: $(df --output=avail -BG "$cache" | tail -n 1 | tr -d ' ') are free for $cache; a build of the runner needs 25G. To start afresh, remove that folder."
}

forget_old_layers() {
    local id removed=1
    while [[ $removed == 1 ]]; do
        removed=0
        while read -r id; do
            grep -qs "^${id:0:11}" "$cache"/*.layers || ! b rmi "$id" >/dev/null 2>&1 || removed=1
        done < <(b images --quiet --no-trunc --filter dangling=true | sed 's/^sha256://')
    done
}

# Write the image as an OCI layout under a temporary name, then rename it. Blobs of an older layout are linked, not written.
write_layout() {
    local name=$1 layout=$2 new=$2.new older container manifest blob
    rm -rf "$new"
    mkdir -p "$new"
    older=$(layouts "$name" | head -n 1)
    [[ -z $older ]] || cp -al "$older/blobs" "$new/blobs"
    # commit, not push, because buildah's push compresses.
    container=$(b from --pull-never "$(reference "$name")")
    b commit --quiet --rm --disable-compression --format oci "$container" "oci:$new:$(reference "$name")" >/dev/null
    # containerd names an imported image by this annotation.
    sed -i 's|"org.opencontainers.image.ref.name":|"io.containerd.image.name":"'"$(reference "$name")"'",&|' "$new/index.json"
    manifest=$(grep -oE 'sha256:[0-9a-f]{64}' "$new/index.json" | cut -d: -f2)
    for blob in "$new"/blobs/sha256/*; do
        grep -qF "${blob##*/}" "$new/index.json" "$new/blobs/sha256/$manifest" || rm "$blob"
    done
    mv "$new" "$layout"
    layouts "$name" | tail -n +3 | xargs -r rm -rf
}

# Print the layouts of an image, the newest first.
layouts() { find "$cache" -mindepth 1 -maxdepth 1 -type d -name "evalrun-$1-*" -not -name '*.new' -printf '%T@ %p\n' | sort -rn | cut -d' ' -f2-; }

build() {
    local name=$1 work with
    with=$(tool)
    rm -rf "$cache"/work.*
    work=$(mktemp -d "$cache/work.XXXXXX")
    # shellcheck disable=SC2064 # this work directory, now
    trap "rm -rf '$work'" EXIT
    write_secrets "$work"
    case $with in
        docker) with_docker "$name" "$work" ;;
        buildah)
            with_buildah "$name" "$work"
            write_layout "$name" "$2"
            ;;
        *) fail "IMAGES_TOOL is docker or buildah, not $with" ;;
    esac
    rm -rf "$work"
}

image() {
    local name=$1 layout
    layout=$cache/evalrun-$name-$(key "$name")
    if [[ ! -d $layout ]]; then
        build "$name" "$layout"
        # The inputs were edited during the build, so the name does not match the content.
        if [[ $layout != "$cache/evalrun-$name-$(key "$name")" ]]; then
            rm -rf "$layout"
            image "$name"
            return
        fi
    fi
    [[ -d $layout ]] || layout=-
    echo "$name $(reference "$name") $layout"
}

[[ $extra == cpu || $extra == cuda ]] || fail "IMAGES_EXTRA is cpu or cuda, not $extra"
case ${1:-all} in
    operator | runner) names=("$1") ;;
    all) names=(operator runner) ;;
    *) fail "which image: operator, runner or all; not $1" ;;
esac
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
for name in "${names[@]}"; do image "$name"; done
