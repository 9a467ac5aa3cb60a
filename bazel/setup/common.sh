# Shared by the set-up scripts; sourced, never run.

# Service managers and CI leave HOME out at times; Bazel, pip and the cache folder want it.
export HOME="${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}"

# Where everything that is neither a Debian package nor source is kept. Outside git, so a fresh
# clone finds what an earlier one fetched.
cache_dir=${SEMCACHE_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/semcache}

say() { printf '%s: %s\n' "${step:-setup}" "$*" >&2; }

# Says what is missing and what to do about it, then fails the step.
die() {
    say "ERROR: $*"
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        die "'$*' needs root: run as root or install sudo"
    fi
}

# Debian's own interpreter: a python3 that stands earlier in PATH (pyenv, conda) may lack pip or venv.
python=/usr/bin/python3
[ -x "$python" ] || python=python3

# Debian's Bazel: another one in PATH, or a launcher that downloads one, would want the network.
bazel=/usr/bin/bazel
[ -x "$bazel" ] || bazel=bazel

# True when file $1 exists and has the sha256 sum $2.
has_sum() { [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d' ' -f1)" = "$2" ]; }

# Downloads the one wheel "$1==$2" with the sha256 sum $3 into directory $4.
fetch_wheel() {
    printf '%s==%s --hash=sha256:%s\n' "$1" "$2" "$3" >"$4/requirements.txt"
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --require-hashes -d "$4" -r "$4/requirements.txt" ||
        die "could not download $1 $2 from the Python package index (network, or a mirror without it)"
}

# Gives a new folder beside the final ones, so that what is complete can be renamed into place.
new_work_folder() {
    mkdir -p "$cache_dir" || die "cannot write to $cache_dir (set SEMCACHE_CACHE_DIR)"
    mktemp -d "$cache_dir/.work.XXXXXX"
}

# Renames the finished folder $1 to $2: an interrupted run never leaves half of it behind.
put_in_place() {
    chmod 755 "$1"
    rm -rf "$2"
    mv "$1" "$2"
}
