#!/usr/bin/env bash
# Installs, on Debian and Ubuntu, what building and running the tests and examples takes, where it
# is missing. The arguments are further packages. On other systems this does nothing, and Ubuntu's
# CMake before 24.04 is too old; CMake then says what is missing.
set -euo pipefail
command -v apt-get > /dev/null || exit 0

# Debian 12 has Boost 1.81 beside an older default; what comes later has a newer default.
boost_package() {
    case $(apt-cache policy libboost1.81-dev) in
        *'Candidate: '[0-9]*) echo libboost1.81-dev ;;
        *) echo libboost-dev ;;
    esac
}

find_missing() {
    missing=()
    local package
    for package in g++ cmake ninja-build "$(boost_package)" libpqxx-dev libpq-dev libssl-dev libfmt-dev \
        catch2 postgresql "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null) == installed ]] ||
            missing+=("$package")
    done
}

as_root() { if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi; }

# Says nothing, unless it fails.
quietly() {
    local output
    output=$("$@" 2>&1) || { printf '%s\n' "$output" >&2; return 1; }
}

apt_get() { quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qy "$@"; }

find_missing "$@"
[[ ${#missing[@]} -gt 0 ]] || exit 0
apt_get update
find_missing "$@" # once more: which Boost there is, is known only now
echo "Installing ${missing[*]}"
apt_get install --no-install-recommends --no-remove "${missing[@]}" || {
    # Such as libboost1.74-dev, where another Boost is wanted.
    echo "Not installed: ${missing[*]}. Where apt-get would remove a package of yours for one of them," \
        "remove it yourself; or build with CMake alone, which fetches the Boost, libpqxx, fmt and" \
        "Catch2 that it does not find." >&2
    exit 1
}
