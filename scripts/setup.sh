#!/usr/bin/env bash
# Installs what the build needs and is not there yet; with --test, what the tests need too.
# Running it again changes nothing and takes less than a second.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: scripts/setup.sh [--test]

  --test   also install a browser, curl and openssl, and create .venv-test with the
           Python packages of Tests/blackbox/requirements.txt
  --help   print this text
TEXT
}

with_test_tools=no
for argument in "$@"; do
    case "$argument" in
        --test) with_test_tools=yes ;;
        --help | -h) usage; exit 0 ;;
        *) echo "setup: unknown argument '$argument'" >&2; usage >&2; exit 64 ;;
    esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# --- Debian packages -------------------------------------------------------------------------

is_installed() {
    dpkg-query --show --showformat='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

apt_get() {
    local command=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 "$@")
    if [[ $(id -u) -ne 0 ]]; then
        command=(sudo "${command[@]}")
    fi
    "${command[@]}" >&2
}

apt_install() {
    # One broken third-party list must not stop an installation that does not need it.
    apt_get update -qq || say "could not refresh every package list"
    apt_get install -y -qq --no-install-recommends "$@"
}

# Installs those of the named packages that are missing. The package lists are refreshed only then.
require_packages() {
    local package
    local missing=()
    if ! command -v dpkg-query >/dev/null; then
        say "this is not a Debian system; make sure that the equivalents of these are there: $*"
        return 0
    fi
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0

    if [[ $(id -u) -ne 0 ]] && ! command -v sudo >/dev/null; then
        fail "not root and no sudo; as root, run: apt-get install ${missing[*]}"
    fi
    say "installing ${missing[*]}"
    if ! apt_install "${missing[@]}"; then
        say "that failed; trying once more in 5 seconds"
        sleep 5
        apt_install "${missing[@]}" || fail "could not install: ${missing[*]}"
    fi
}

# --- The Swift toolchain ---------------------------------------------------------------------

require_swift() {
    local output
    PATH="$PATH:/opt/swift/usr/bin:${SWIFTLY_BIN_DIR:-${HOME:-/root}/.local/share/swiftly/bin}"
    if ! command -v swift >/dev/null; then
        fail "no Swift toolchain found. Install Swift 6.2 or newer from" \
            "https://www.swift.org/install/linux/ and put its usr/bin on PATH."
    fi
    if ! output=$(swift --version 2>&1); then
        fail "$(command -v swift) does not run: ${output:-it printed nothing}"
    fi
    if [[ ! $output =~ Swift\ version\ ([0-9]+)\.([0-9]+) ]]; then
        fail "cannot read the version of $(command -v swift) from: $output"
    fi
    if (( BASH_REMATCH[1] * 1000 + BASH_REMATCH[2] < 6002 )); then
        fail "$(command -v swift) is Swift ${BASH_REMATCH[1]}.${BASH_REMATCH[2]};" \
            "this project needs 6.2 or newer (https://www.swift.org/install/linux/)."
    fi
}

# --- The Python environment of the black-box tests -------------------------------------------

# Prints the first Python that can make a virtual environment. The one on PATH need not be
# Debian's, and Debian's cannot before python3-venv is installed.
find_python() {
    local python
    for python in python3 /usr/bin/python3; do
        if "$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 9))' \
            >/dev/null 2>&1; then
            echo "$python"
            return 0
        fi
    done
    return 1
}

require_python_environment() {
    local requirements=Tests/blackbox/requirements.txt
    local environment=.venv-test
    local stamp=$environment/requirements.sha256
    local python wanted
    [[ -f $requirements ]] || fail "$requirements is missing; is this a complete checkout?"

    # The stamp is written last, so an interrupted run starts over.
    wanted=$(sha256sum <"$requirements")
    if [[ -f $stamp && $(<"$stamp") == "$wanted" ]] &&
        "$environment/bin/python" -c '' 2>/dev/null; then
        return 0
    fi

    if ! python=$(find_python); then
        require_packages python3 python3-venv python3-pip
        python=$(find_python) || fail "no python3 (3.9 or newer) here can run 'python3 -m venv'"
    fi
    say "creating $environment with the packages of $requirements"
    rm -rf "$environment"
    "$python" -m venv "$environment" || fail "'$python -m venv $environment' failed"
    pip_install -r "$requirements" || {
        say "that failed; trying once more in 5 seconds"
        sleep 5
        pip_install -r "$requirements" || fail "could not install the packages of $requirements"
    }
    printf '%s\n' "$wanted" >"$stamp"
}

pip_install() {
    .venv-test/bin/python -m pip install --quiet --disable-pip-version-check "$@" >&2
}

# --- All together ----------------------------------------------------------------------------

require_swift
require_packages libcurl4-openssl-dev libssl-dev libsimdjson-dev libsqlite3-dev zlib1g-dev pkg-config
if [[ $with_test_tools == yes ]]; then
    require_packages chromium curl openssl
    require_python_environment
fi
