# shellcheck shell=sh
# Small helpers that network.sh scripts written for LTSP and Kubefarm expect. Written anew, only their meaning is the same.

warn() { echo "$*" >&2; }

debug() { [ -z "${LTSP_DEBUG:-}" ] || warn "debug: $*"; }

die() {
	warn "$*"
	exit 1
}

is_command() { command -v "$1" >/dev/null 2>&1; }

# Run a command; its failure ends the script.
re() { "$@" || die "command failed: $*"; }

# Run a command; its failure is a warning.
rw() { "$@" || warn "command failed: $*"; }

# Run a command silently; its failure ends the script.
rs() { "$@" >/dev/null 2>&1 || die "command failed: $*"; }

# Run a command silently and hand its status on.
rsr() { "$@" >/dev/null 2>&1; }
