#!/usr/bin/env bash
# Runs seeds of the simulation of the whole service (Sources/Simulation) in a release build.
# A failure prints its seed and how to replay it.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: scripts/simulate.sh [--seeds A..B | --seed N | --minutes M] [--trace] [--counts]

  --seeds A..B   these seeds; 1..300 when nothing is said
  --seed N       one seed; with --trace every event is written to standard error
  --minutes M    new seeds, from the clock, for so long
  --counts       says what the seeds met
TEXT
}

case "${1:-}" in --help | -h) usage; exit 0 ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PATH:/opt/swift/usr/bin:${SWIFTLY_BIN_DIR:-${HOME:-/root}/.local/share/swiftly/bin}"
swift build -c release --product simulate >&2
# The order of a dictionary is part of a run; the command sets this for itself, too.
SWIFT_DETERMINISTIC_HASHING=1 exec .build/release/simulate "$@"
