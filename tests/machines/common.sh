# shellcheck shell=bash
# Sourced by the machine scripts. Everything is built under EDGE_MACHINES_DIR and nothing is left mounted.
set -euo pipefail

MACHINES_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PROJECT=$(cd "$MACHINES_SRC/../.." && pwd)
EDGE_MACHINES_DIR=${EDGE_MACHINES_DIR:-/var/tmp/edge-machines}
CANNOT=77 # the status of "this machine cannot run the check", as automake and meson understand it: neither pass nor fail
export DEBIAN_FRONTEND=noninteractive

say() { printf '[%s] %s\n' "$(date +%T)" "$*" >&2; }

# make turns every failure into its own status 2, so "cannot" is also left in a file, named after the check that was asked for.
if [ -z "${EDGE_MACHINE_CHECK:-}" ]; then
  EDGE_MACHINE_CHECK=$(basename "$0" .sh | tr _ -)
  export EDGE_MACHINE_CHECK
  rm -f "$PROJECT/.machine-$EDGE_MACHINE_CHECK"
fi

cannot() {
  printf 'cannot run: %s\n' "$*" >&2
  echo "$CANNOT" 2>/dev/null > "$PROJECT/.machine-$EDGE_MACHINE_CHECK" || true
  exit "$CANNOT"
}

need_root() {
  [ "$(id -u)" = 0 ] || cannot "this check builds file systems and mounts them: run it as root"
  mkdir -p "$EDGE_MACHINES_DIR"
}

# need_packages NAME...: installs what is missing by name; cannot() when that is not possible.
need_packages() {
  local missing=() name
  for name in "$@"; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  command -v apt-get >/dev/null || cannot "these Debian packages are needed and there is no apt-get: ${missing[*]}"
  say "installing ${missing[*]}"
  if [ -z "$(find /var/lib/apt/lists -name '*_Packages*' -mtime -1 -print -quit 2>/dev/null)" ]; then
    apt-get update -qq -o DPkg::Lock::Timeout=300 || cannot "apt-get update failed; needed: ${missing[*]}"
  fi
  apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=600 "${missing[@]}" >/dev/null 2>"$EDGE_MACHINES_DIR/apt.log" \
    || cannot "apt-get could not install ${missing[*]} (see $EDGE_MACHINES_DIR/apt.log)"
}

# The Debian mirror this machine is configured with.
debian_mirror() {
  awk '/^URIs:/{print $2; exit}' /etc/apt/sources.list.d/debian.sources 2>/dev/null \
    || awk '/^deb /{for (i = 2; i <= NF; i++) if ($i ~ /^http/) {print $i; exit}}' /etc/apt/sources.list
}

# Lets the kernel run ARM programs through qemu-user. The registration carries the open interpreter (flag F), so that a
# chroot needs no copy of it.
need_emulation() {
  need_packages qemu-user-static binfmt-support
  [ -e /proc/sys/fs/binfmt_misc/register ] || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc 2>/dev/null \
    || cannot "binfmt_misc is not available in this kernel or container"
  local machine
  for machine in aarch64 arm; do
    [ -e "/proc/sys/fs/binfmt_misc/qemu-$machine" ] || update-binfmts --enable "qemu-$machine" >&2 \
      || cannot "qemu-$machine could not be registered with binfmt_misc"
  done
}

# emulated_cpu ARCH: the processor to emulate. Never the default "max": its SME gives wrong int8 results in QEMU 7.2.
emulated_cpu() {
  case $1 in
    arm64) echo "${QEMU_CPU:-cortex-a72}" ;;
    armhf) echo "${QEMU_CPU:-cortex-a7}" ;;
  esac
}

# seconds_since START: START is a value of SECONDS
seconds_since() { echo "$((SECONDS - $1)) s"; }

# digest TEXT...: a short name for a cache entry that depends on all of TEXT
digest() { printf '%s\n' "$@" | sha256sum | cut -c1-16; }
