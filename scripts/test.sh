#!/usr/bin/env bash
# Runs every test, each stage even when an earlier one failed, and sums them up at the end.
# The whole run is bounded in time, and so is each stage; a log of each stays in .build/test-logs.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: scripts/test.sh [--unit | --sanitize=thread | --sanitize=address | --fuzz]

  (none)              unit tests, those that matter under the thread and the address
                      sanitizer, a thousand seeds of the simulation, a short run of
                      each fuzz target, black-box tests against a release build, a
                      browser's among them
  --unit              unit tests only; they need no server and no browser
  --sanitize=thread   only what has threads, under the thread sanitizer
  --sanitize=address  only what touches memory, under the address sanitizer
  --fuzz              only the short run of each fuzz target
  --help              print this text

TEST_TIME_LIMIT_SECONDS bounds the whole run; the default is 2340 (39 minutes).
The last line counts test runs: a test that runs under the sanitizer as well counts twice.
A stage that fails without a failing test (it does not build, say) counts as one failure.
TEXT
}

selection=all
for argument in "$@"; do
    case "$argument" in
        --unit) selection=unit ;;
        --sanitize=thread) selection=thread ;;
        --sanitize=address) selection=address ;;
        --fuzz) selection=fuzz ;;
        --help | -h) usage; exit 0 ;;
        *) echo "test: unknown argument '$argument'" >&2; usage >&2; exit 64 ;;
    esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PATH:/opt/swift/usr/bin:${SWIFTLY_BIN_DIR:-${HOME:-/root}/.local/share/swiftly/bin}"
# The toolchain's crash reporter can wait for ever under a sanitizer, and then the run never ends.
export SWIFT_BACKTRACE=enable=no

logs=.build/test-logs
mkdir -p "$logs"
deadline_seconds=${TEST_TIME_LIMIT_SECONDS:-2340}
passed_total=0
failed_total=0
summary=()
running=

stop_running_stage() {
    trap - INT TERM
    if [[ -n $running ]]; then
        kill -TERM "$running" 2>/dev/null || true
        wait "$running" 2>/dev/null || true
    fi
    exit 130
}
trap stop_running_stage INT TERM

# run_logged LIMIT_SECONDS LOG COMMAND...: shows the output while it comes, and keeps it.
# `timeout` leads a process group of its own, so whatever a hanging test started ends with it.
run_logged() {
    local limit_seconds=$1 log=$2 status=0
    shift 2
    : >"$log"
    # Without job control the shell would start it with SIGINT ignored, which tests inherit.
    set -m
    timeout --kill-after=15 "$limit_seconds" "$@" </dev/null >"$log" 2>&1 &
    running=$!
    set +m
    tail -n +1 -f --pid="$running" --sleep-interval=0.2 "$log" &
    local follower=$!
    wait "$running" || status=$?
    running=
    wait "$follower" || true
    return "$status"
}

plain_text() { sed $'s/\x1b\\[[0-9;]*[A-Za-z]//g' "$1"; }

# Both print "PASSED FAILED", or nothing when the closing line never came.

# "✔ Test run with 12 tests in 3 suites passed after 0.1 seconds." or "✘ … failed after … with
# 4 issues." One test may have several issues, so failures are counted by the tests' own lines.
count_swift_testing() {
    plain_text "$1" | LC_ALL=C awk '
        / recorded an? / { next }
        match($0, /(^|[\200-\377] +)Test run with [0-9]+ tests?( in [0-9]+ suites?)? (passed|failed) after /) {
            line = substr($0, RSTART)
            sub(/^.*Test run with /, "", line)
            ran += line + 0
            closed = 1
            if (line ~ /^[0-9]+ tests?( in [0-9]+ suites?)? failed/) broken = 1
            next
        }
        /[\200-\377] +Test case / { next }
        /[\200-\377] +Test .* failed after [0-9.]+ seconds/ { failed++ }
        /[\200-\377] +Test .* skipped/ { skipped++ }
        END {
            if (!closed) exit
            if (broken && !failed) failed = 1
            passed = ran - failed - skipped
            print (passed > 0 ? passed : 0), failed + 0
        }'
}

# "3 failed, 40 passed, 1 skipped, 2 errors in 12.34s", with or without "=" around it.
count_pytest() {
    plain_text "$1" | awk '
        /(passed|failed|error|errors|skipped|deselected|xfailed|xpassed|no tests ran).* in [0-9.]+s/ {
            closing = $0
        }
        END {
            if (closing == "") exit
            sub(/ in [0-9.]+s.*/, "", closing)
            gsub(/=/, "", closing)
            parts = split(closing, part, ",")
            for (i = 1; i <= parts; i++) {
                split(part[i], word, " ")
                if (word[2] ~ /^(passed|xpassed)$/) passed += word[1]
                if (word[2] ~ /^(failed|error|errors)$/) failed += word[1]
            }
            print passed + 0, failed + 0
        }'
}

# stage NAME COUNTER LIMIT_SECONDS COMMAND...: COUNTER is swift, pytest or none.
stage() {
    local name=$1 counter=$2 limit_seconds=$3
    shift 3
    local log="$logs/${name// /-}.log" status=0 verdict=ok note='' counts=''
    local passed=0 failed=0 began=$SECONDS
    local left_seconds=$((deadline_seconds - SECONDS))

    printf '\n== %s: %s\n' "$name" "$*"
    if (( left_seconds <= 0 )); then
        status=1
        note='not run: the time for the whole run is over'
    else
        (( limit_seconds <= left_seconds )) || limit_seconds=$left_seconds
        run_logged "$limit_seconds" "$log" "$@" || status=$?
        case $counter in
            swift) counts=$(count_swift_testing "$log") ;;
            pytest) counts=$(count_pytest "$log") ;;
        esac
        read -r passed failed <<<"${counts:-0 0}"
        if (( status == 124 || status == 137 )); then
            note="stopped after $limit_seconds s"
        elif grep -q 'WARNING: ThreadSanitizer' "$log"; then
            status=1
            note='the thread sanitizer found a race'
        elif grep -qE 'ERROR: AddressSanitizer' "$log"; then
            status=1
            note='the address sanitizer found a fault'
        elif [[ $counter != none && $status -eq 0 ]] && (( passed + failed == 0 )); then
            status=1
            note='no test ran'
        elif (( status != 0 && failed == 0 )); then
            note="exit code $status"
        fi
    fi
    (( status == 0 )) && (( failed > 0 )) && status=1
    (( status != 0 )) && (( failed == 0 )) && failed=1
    (( status == 0 )) || verdict=FAILED

    passed_total=$((passed_total + passed))
    failed_total=$((failed_total + failed))
    if [[ $counter != none ]]; then
        note="$passed passed, $failed failed${note:+; $note}"
    fi
    summary+=("$(printf '%-6s  %-23s %5d s  %s' "$verdict" "$name" $((SECONDS - began)) "$note")")
    return "$status"
}

unit_tests() { stage 'unit tests' swift 600 swift test || true; }

# Not the stores: the sanitizer does not see Synchronization.Mutex, and takes what it guards for races.
threads_under_sanitizer() {
    stage 'thread sanitizer' swift 900 \
        swift test --sanitize=thread --scratch-path .build-thread \
        --filter 'RingsTests|ReactorTests|ObservabilityTests|ShardRuntimeTests' || true
}

memory_under_sanitizer() {
    # What a test leaves behind at its end is no fault of the memory's use.
    stage 'address sanitizer' swift 900 env ASAN_OPTIONS=detect_leaks=0 \
        swift test --sanitize=address --scratch-path .build-address \
        --filter 'BytesTests|RingsTests|WireTests|ReactorTests|IngestTests|StoresTests|IdentityTests|APITests' || true
}

# Every input of the corpora, and a few seconds of new ones from a seed of the day's own.
fuzz_targets() {
    stage 'fuzzing' none 600 ./scripts/fuzz.sh --seconds 6 || true
}

simulated_seeds() {
    stage 'simulation' none 900 ./scripts/simulate.sh --seeds 1..1000 || true
}

# Counts, not times: they are the same on every machine.
allocation_counts() {
    stage 'allocation counts' none 600 \
        swift run -c release parser-benchmark --check || true
}

black_box_tests() {
    # An old binary must not stand in for one that does not build.
    export CHAT_SERVICE_BIN=$PWD/.build/release/chat-service
    # What the answers of all tests were is looked at by the documents' tests, when all are over.
    export DESCRIBED_SEEN=$PWD/.build/described-seen
    rm -rf "$DESCRIBED_SEEN"
    local pytest=(.venv-test/bin/python -m pytest -q)
    if stage 'release build' none 600 swift build -c release --product chat-service; then
        # Most of their time they wait: two at a time, a file in one piece.
        stage 'black-box tests' pytest 1200 "${pytest[@]}" -n 2 --dist loadfile Tests/blackbox \
            --ignore Tests/blackbox/test_zz_documents.py || true
        stage 'documents' pytest 120 "${pytest[@]}" Tests/blackbox/test_zz_documents.py || true
    else
        failed_total=$((failed_total + 1))
        summary+=("$(printf '%-6s  %-23s %5d s  %s' FAILED 'black-box tests' 0 \
            'not run: the release build failed')")
    fi
}

case $selection in
    unit)
        stage setup none 600 ./scripts/setup.sh || true
        unit_tests ;;
    thread)
        stage setup none 600 ./scripts/setup.sh || true
        threads_under_sanitizer ;;
    address)
        stage setup none 600 ./scripts/setup.sh || true
        memory_under_sanitizer ;;
    fuzz)
        stage setup none 600 ./scripts/setup.sh || true
        fuzz_targets ;;
    all)
        stage setup none 600 ./scripts/setup.sh --test || true
        stage build none 600 swift build --build-tests || true
        unit_tests
        threads_under_sanitizer
        memory_under_sanitizer
        fuzz_targets
        simulated_seeds
        black_box_tests
        allocation_counts ;;
esac

printf '\n== summary (%d s, logs in %s)\n' "$SECONDS" "$logs"
printf '%s\n' "${summary[@]}" | sed 's/ *$//'
printf '\n%d passed, %d failed\n' "$passed_total" "$failed_total"
(( failed_total == 0 ))
