# Sourced by the other scripts: installs missing Debian packages where that is possible, else says what to type.

# debian_install REASON PACKAGE...: installs the packages as root with apt-get; otherwise prints the one line to
# type and fails.
debian_install() {
    reason=$1
    shift
    echo "$reason" >&2
    if ! command -v apt-get >/dev/null; then
        echo "please install with your system's package tool: $*" >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        line="apt-get install -y --no-install-recommends $*"
        if command -v sudo >/dev/null; then line="sudo $line"; else line="su -c '$line'"; fi
        echo "please type: $line" >&2
        return 1
    fi
    echo "installing with apt-get: $*" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -qq -y --no-install-recommends "$@" >/dev/null 2>&1 && return
    # The lists may be missing or old.
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

# debian_missing FILE: of the packages that FILE lists (one a line, `#` starts a comment), those not installed.
# Empty where there is no dpkg.
debian_missing() {
    command -v dpkg-query >/dev/null || return 0
    sed 's/#.*//' "$1" | while read -r package; do
        if [ -n "$package" ] && ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed'; then
            printf '%s ' "$package"
        fi
    done
}
