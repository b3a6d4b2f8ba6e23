#!/usr/bin/env bash
# Asks a running service how it is and prints one line for each of its checks.
# Exit code: 0 when it passes or warns, 1 when it fails or answers nonsense, 69 when unreachable.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: scripts/health_check.sh [URL]

  URL      where the service is; default http://127.0.0.1:$PORT, PORT being 8001
           when it is not set
  --help   print this text
TEXT
}

case ${1:-} in
    --help | -h) usage; exit 0 ;;
    -*) echo "health_check: unknown argument '$1'" >&2; usage >&2; exit 64 ;;
esac
if [[ $# -gt 1 ]]; then
    usage >&2
    exit 64
fi

base=${1:-http://127.0.0.1:${PORT:-8001}}
while [[ $base == */ ]]; do base=${base%/}; done

for tool in curl python3; do
    if ! command -v "$tool" >/dev/null; then
        echo "health_check: $tool is needed and not installed" >&2
        exit 1
    fi
done

body=$(mktemp)
trap 'rm -f "$body"' EXIT

# Prints the status code; the answer's body goes to the file.
ask() {
    curl --silent --show-error --connect-timeout 3 --max-time 10 --output "$body" \
        --header 'Accept: application/health+json, application/json' \
        --write-out '%{http_code}' "$base$1"
}

path=/health/detailed
status=$(ask "$path") || { echo "health_check: $base is unreachable" >&2; exit 69; }
if [[ $status == 404 ]]; then
    path=/health
    status=$(ask "$path") || { echo "health_check: $base is unreachable" >&2; exit 69; }
fi
case $status in
    200 | 503) ;;
    401 | 403)
        echo "health_check: $base$path answered $status: it is open to loopback only," \
            "unless OPS_PUBLIC=true" >&2
        exit 1 ;;
    *)
        echo "health_check: $base$path answered $status" >&2
        exit 1 ;;
esac

python3 - "$body" "$base$path" <<'PYTHON'
import json
import sys

body_path, url = sys.argv[1:]


def text(value):
    return "" if value is None else str(value)


def measured(check):
    value = " ".join(
        part for part in (text(check.get("observedValue")), text(check.get("observedUnit"))) if part
    )
    return "  ".join(part for part in (value, text(check.get("output"))) if part)


try:
    with open(body_path, encoding="utf-8") as file:
        health = json.load(file)
    overall = text(health["status"])
    rows = [
        (name, text(check.get("status")) or "-", measured(check))
        for name, checks in sorted((health.get("checks") or {}).items())
        for check in (checks if isinstance(checks, list) else [checks])
    ]
except (ValueError, KeyError, TypeError, AttributeError):
    sys.exit(f"health_check: {url} did not answer with a health document")

uptime = health.get("uptime_seconds")
facts = [text(health.get("version")), "" if uptime is None else f"up {uptime} s"]
rows.append(("overall", overall, "  ".join(fact for fact in facts if fact)))

name_columns = max(len(name) for name, _, _ in rows)
status_columns = max(len(status) for _, status, _ in rows)
for name, status, value in rows:
    print(f"{name:<{name_columns}}  {status:<{status_columns}}  {value}".rstrip())
sys.exit(0 if overall in ("pass", "warn") else 1)
PYTHON
