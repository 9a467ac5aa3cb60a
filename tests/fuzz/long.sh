#!/bin/sh
# Runs every fuzz target for long, one after the other, and prints a table of what ran.
#
# usage: bazel run //tests/fuzz:long [-- [-m MINUTES] [-n EXECUTIONS] [-o FOLDER] [target...]]
#     each target ends after MINUTES (20) or EXECUTIONS (10000000), whichever comes first, or at the
#     first crash; new inputs, logs and crashes are kept in FOLDER (a temporary one, which is named).
set -eu
minutes=20 executions=10000000 folder=
while getopts m:n:o: option; do
    case $option in
    m) minutes=$OPTARG ;;
    n) executions=$OPTARG ;;
    o) folder=$OPTARG ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
cd "${BUILD_WORKSPACE_DIRECTORY:?run it with bazel run}"
[ -n "$folder" ] || folder=$(mktemp -d)
mkdir -p "$folder"
echo "inputs, logs and crashes: $folder" >&2

# Bazel lets go of its lock before it runs a program, so the same one can be asked to build.
bazel=${BAZEL:-bazel}
ask() {
    "$bazel" ${FUZZ_OUTPUT_BASE:+"--output_base=$FUZZ_OUTPUT_BASE"} "$@"
}
[ $# -gt 0 ] || set -- $(sed -n 's/.*name = "\([a-z0-9_]*_fuzz\)".*/\1/p' tests/fuzz/BUILD)
ask build --config=fuzz --symlink_prefix=/ //tests/fuzz/... >&2
bin=$(ask info --config=fuzz bazel-bin 2>/dev/null)

# How one run ended, from libFuzzer's last lines.
row() {
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$2" | tail -1)
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$2" | tail -1)
    cover=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$2" | tail -1)
    printf '| %s | %s | %s s | %s/s | %s | %s |\n' "$1" "${runs:-?}" "$3" "${rate:-?}" "${cover:-?}" "$4"
}

failed=0
echo '| target | executions | time | rate | edges | found |'
echo '|---|---|---|---|---|---|'
for target; do
    corpus=$(sed -n "/name = \"$target\"/,/)/s/.*corpus = \"\(.*\)\".*/\1/p" tests/fuzz/BUILD)
    mkdir -p "$folder/$target"
    start=$(date +%s)
    found=nothing
    (cd "$bin/tests/fuzz/$target.runfiles"/* 2>/dev/null || cd "$bin"
     exec "$bin/tests/fuzz/$target" -max_total_time=$((minutes * 60)) -runs="$executions" -timeout=10 \
         -rss_limit_mb=4096 -print_final_stats=1 -artifact_prefix="$folder/$target." \
         "$folder/$target" "$BUILD_WORKSPACE_DIRECTORY/tests/fuzz/$corpus") >"$folder/$target.log" 2>&1 || {
        found="A CRASH: $folder/$target.log"
        failed=1
    }
    row "$target" "$folder/$target.log" $(($(date +%s) - start)) "$found"
done
exit $failed
