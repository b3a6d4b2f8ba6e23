#!/usr/bin/env bash
# Builds the fuzz targets and runs them, one after the other. See CONTRIBUTING.md, "Fuzzing".
set -euo pipefail

targets=(http websocket deflate json cursors tokens)

usage() {
    cat <<TEXT
Usage: scripts/fuzz.sh [TARGET] [--seconds N | --replay FILE]

  TARGET          one of: ${targets[*]}; the default is all of them
  --seconds N     how long each target runs; the default is 10. 0 runs the corpus once
  --replay FILE   runs TARGET with this one input, to see what it does
  --help          print this text

An input that breaks a property is written to .build-fuzz/found. What reaches new code is kept in
.build-fuzz/work and is where the next run goes on.
TEXT
}

target=
seconds=10
replay=
while (( $# > 0 )); do
    case "$1" in
        --seconds) seconds=${2:?--seconds needs a number}; shift ;;
        --replay) replay=$(realpath "${2:?--replay needs a file}"); shift ;;
        --help | -h) usage; exit 0 ;;
        *)
            if [[ -n $target || " ${targets[*]} " != *" $1 "* ]]; then
                echo "fuzz: unknown argument '$1'" >&2; usage >&2; exit 64
            fi
            target=$1 ;;
    esac
    shift
done
if [[ ! $seconds =~ ^[0-9]+$ ]]; then
    echo "fuzz: --seconds takes a whole number, not '$seconds'" >&2; exit 64
fi
if [[ -n $replay && -z $target ]]; then
    echo "fuzz: --replay needs a target" >&2; exit 64
fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PATH:/opt/swift/usr/bin:${SWIFTLY_BIN_DIR:-${HOME:-/root}/.local/share/swiftly/bin}"
# The toolchain's crash reporter would take minutes for each find.
export SWIFT_BACKTRACE=enable=no

# --- Building --------------------------------------------------------------------------------

# libFuzzer comes with the toolchain's own clang: usr/lib/clang/VERSION/lib/linux beside usr/bin.
swift=$(readlink -f "$(command -v swift)") || { echo "fuzz: no Swift toolchain on PATH" >&2; exit 69; }
library=$(find "${swift%/bin/*}/lib" -name "libclang_rt.fuzzer_no_main-$(uname -m).a" 2>/dev/null | head -n 1)
if [[ -z $library ]]; then
    echo "fuzz: the toolchain of $swift has no libclang_rt.fuzzer_no_main-$(uname -m).a;" \
        "use one from swift.org" >&2
    exit 69
fi
export CHAT_SERVICE_FUZZ=1 CHAT_SERVICE_FUZZER_LIBRARY=$library
# Optimised, for the runs are many; with all assertions, for they are properties too.
swift build -c release --product fuzz --scratch-path .build-fuzz --sanitize=address \
    -Xswiftc -assert-config -Xswiftc Debug
program=.build-fuzz/release/fuzz

# --- Running ---------------------------------------------------------------------------------

if [[ -n $replay ]]; then
    exec "$program" "$target" "$replay"
fi

mkdir -p .build-fuzz/found
failed=()
for name in ${target:-"${targets[@]}"}; do
    corpus=Tests/Fuzz/corpus/$name
    work=.build-fuzz/work/$name
    mkdir -p "$work" "$corpus"
    arguments=(-max_len=4096 -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 -verbosity=0
        -artifact_prefix=".build-fuzz/found/$name-")
    if [[ -f Tests/Fuzz/dictionaries/$name.dict ]]; then
        arguments+=(-dict="Tests/Fuzz/dictionaries/$name.dict")
    fi
    echo "== $name"
    limit=(-max_total_time="$seconds")
    (( seconds > 0 )) || limit=(-runs=0)
    "$program" "$name" "${limit[@]}" "${arguments[@]}" "$work" "$corpus" || failed+=("$name")
done

if (( ${#failed[@]} > 0 )); then
    echo "fuzz: broken properties in: ${failed[*]}" >&2
    for name in "${failed[@]}"; do
        for file in .build-fuzz/found/"$name"-*; do
            [[ -e $file ]] && echo "fuzz: to see it again: scripts/fuzz.sh $name --replay $file" >&2
        done
    done
    echo "fuzz: once mended, add a unit test, and the file to Tests/Fuzz/corpus" >&2
    exit 1
fi
