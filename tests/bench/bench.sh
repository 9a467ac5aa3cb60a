#!/bin/sh
# Runs the suite with Debian's Python: it needs nothing beyond the standard library.
set -eu
python=/usr/bin/python3
[ -x "$python" ] || python=python3
PYTHONPATH=tests/bench exec "$python" -B -m suite "$@"
