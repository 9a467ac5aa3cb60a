#!/bin/sh
# Runs interop.py with the Python that has grpcio. Without it the test is skipped, loudly; with
# SEMCACHE_REQUIRE set, it fails.
set -eu
cache=${SEMCACHE_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/semcache}

for needed in "$cache/venv/bin/python" "$cache/bin/grpcurl" "$cache/redis/redis-server"; do
    if [ ! -x "$needed" ]; then
        echo "NO $needed: run bazel/install" >&2
        if [ -n "${SEMCACHE_REQUIRE:-}" ]; then
            echo "[  FAILED  ] interop"
            exit 1
        fi
        echo "[  SKIPPED ] interop"
        exit 0
    fi
done
exec "$cache/venv/bin/python" tests/interop/interop.py "$cache"
