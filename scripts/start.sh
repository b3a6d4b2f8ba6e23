#!/usr/bin/env bash
# Installs what is missing, builds the service in release mode and runs it in the foreground.
# Arguments go to `chat-service serve`. Settings come from the environment and from .env.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PATH:/opt/swift/usr/bin:${SWIFTLY_BIN_DIR:-${HOME:-/root}/.local/share/swiftly/bin}"

# Standard output belongs to the service, whose ready line programs may read.
say() { printf 'start: %s\n' "$*" >&2; }

# Reads KEY=VALUE lines. Nothing in the file is executed or expanded, one pair of quotes around
# a value is taken off, and a variable that the environment already has keeps its value.
load_settings() {
    local file=$1 line key value number=0
    while IFS= read -r line || [[ -n $line ]]; do
        number=$((number + 1))
        line=${line%$'\r'}
        [[ $line =~ ^[[:space:]]*(#.*)?$ ]] && continue
        if [[ ! $line =~ ^[[:space:]]*([A-Z][A-Z0-9_]*)=(.*)$ ]]; then
            say "$file line $number is not KEY=VALUE and was skipped"
            continue
        fi
        key=${BASH_REMATCH[1]}
        value=${BASH_REMATCH[2]}
        value=${value#"${value%%[![:space:]]*}"}
        value=${value%"${value##*[![:space:]]}"}
        if [[ $value =~ ^\"(.*)\"$ || $value =~ ^\'(.*)\'$ ]]; then
            value=${BASH_REMATCH[1]}
        fi
        [[ -v $key ]] || export "$key=$value"
    done <"$file"
}

./scripts/setup.sh

say "building; the first time takes a few minutes"
swift build -c release --product chat-service >&2

if [[ -f .env ]]; then
    load_settings .env
    export ENV_FILE=${ENV_FILE:-$PWD/.env}
fi

# The directory holds messages and, in development, generated keys: it is the owner's alone.
data_directory=${DATA_DIR:-./data}
if [[ ! -d $data_directory ]]; then
    mkdir -p "$data_directory"
    chmod 700 "$data_directory"
fi

case ${HOST:-0.0.0.0} in
    0.0.0.0 | :: | '[::]') host=localhost ;;
    *:*) host="[${HOST//[\[\]]/}]" ;;
    *) host=$HOST ;;
esac
if [[ ${PORT:-8001} == 0 ]]; then
    say "the web chat will be at the url of the ready line"
else
    scheme=http
    [[ -z ${TLS_CERT_FILE:-} ]] || scheme=https
    say "the web chat will be at $scheme://$host:${PORT:-8001}/ once the ready line appears"
fi
exec .build/release/chat-service serve "$@"
