#!/bin/sh
# Installs or upgrades the agent and its service. Run it as root on the device; running it again is harmless.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root='' package='' wheels='' extras='' python=python3 start=yes

usage() {
  cat <<'TEXT'
usage: install.sh [--package SOURCE] [--wheels DIR] [--extras LIST] [--python PROGRAM] [--root DIR] [--no-start]

  --package SOURCE   a wheel, a source folder, or a requirement; default: the source tree this script lies in
  --wheels DIR       install from the wheels in DIR alone, without a network
  --extras LIST      what to serve and read, of onnx, tflite, serial; default: all that this machine has wheels for
  --python PROGRAM   the interpreter to build on; default python3 (3.10 or later, with the venv module)
  --root DIR         install into a system image at DIR that can run here, instead of this system
  --no-start         enable the service, but do not start or restart it now
TEXT
}

fail() {
  echo "install.sh: $*" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case $1 in
    --package | --wheels | --extras | --python | --root)
      [ $# -ge 2 ] || fail "$1 needs a value"
      case $1 in
        --package) package=$2 ;; --wheels) wheels=$2 ;; --extras) extras=$2 ;; --python) python=$2 ;; --root) root=${2%/} ;;
      esac
      shift 2 ;;
    --no-start) start=no; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done

[ "$(id -u)" = 0 ] || fail "must be run as root"
[ -z "$root" ] || [ -d "$root/usr" ] || fail "$root is not the root of a system"
prefix=/opt/edge-agent
[ -n "$package" ] || package=$(dirname "$here")

# What is needed inside an image is copied there first, for a chroot sees nothing else.
staging=''
trap '[ -z "$staging" ] || rm -rf "$staging"' EXIT
trap 'exit 130' INT TERM
inside() { if [ -n "$root" ]; then chroot "$root" "$@"; else "$@"; fi; }
bring() { # bring PATH: PATH as it is called inside
  if [ -z "$root" ] || [ ! -e "$1" ]; then echo "$1"; return; fi
  cp -R "$1" "$staging/"
  echo "${staging#"$root"}/$(basename "$1")"
}
if [ -n "$root" ]; then staging=$(mktemp -d "$root/var/tmp/edge-install.XXXXXX"); fi

inside "$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
  || fail "$python must be Python 3.10 or later with the venv module (Debian: apt install python3-venv)"
machine=$(inside "$python" -c 'import platform, struct; m = platform.machine()
print("armv7l" if m in ("aarch64", "armv8l", "armv7l") and struct.calcsize("P") == 4 else m)')
venv_options=''
case $machine in
  # No wheels of numpy and cffi exist there: the distribution's packages are used.
  armv7l) : "${extras:=tflite,serial}"; venv_options=--system-site-packages ;;
  *) : "${extras:=onnx,tflite,serial}" ;;
esac

echo "installing edge-agent [$extras] for $machine into $root$prefix"
[ -x "$root$prefix/bin/python" ] || inside "$python" -m venv $venv_options "$prefix"
where=$(bring "$package")
set -- --quiet --disable-pip-version-check --no-input --upgrade
if [ -n "$wheels" ]; then set -- "$@" --isolated --no-index --find-links "$(bring "$wheels")"; fi
case $where in
  /*.whl) requirement="edge-runtime[$extras] @ file://$where" ;;
  /* | .*) requirement="$where[$extras]" ;;
  *) requirement="${where}[$extras]" ;;
esac
# The same version may hold new code: the package itself is always put in anew.
inside "$prefix/bin/python" -m pip install "$@" "$requirement"
inside "$prefix/bin/python" -m pip install "$@" --no-deps --force-reinstall "$requirement"
# The service sees a read-only file system; without compiled files every start would cost four times the time.
inside "$prefix/bin/python" -m compileall -q "$prefix/lib"

install -D -m 644 "$here/edge-agent.service" "$root/etc/systemd/system/edge-agent.service"
install -D -m 644 "$here/edge-agent.sysusers.conf" "$root/usr/lib/sysusers.d/edge-agent.conf"
install -D -m 644 "$here/edge-agent.tmpfiles.conf" "$root/usr/lib/tmpfiles.d/edge-agent.conf"
install -D -m 644 "$here/README.md" "$root$prefix/share/doc/README.md"
install -d "$root/usr/local/bin"
ln -sfn "$prefix/bin/edge-agent" "$root/usr/local/bin/edge-agent"
# For an image these three are this system's: inside a chroot they ask for a mounted /proc.
systemd-sysusers --root="$root/" edge-agent.conf
systemd-tmpfiles --root="$root/" --create edge-agent.conf

config=/etc/edge-agent/agent.toml
if [ ! -e "$root$config" ]; then
  name=$(tr -cd 'A-Za-z0-9.-' < "$root/etc/hostname" 2>/dev/null | sed 's/^[.-]*//' | cut -c1-64)
  sed "s/@HOSTNAME@/${name:-device}/" "$here/agent.toml" > "$root$config.new"
  mv "$root$config.new" "$root$config"
fi
inside chown root:edge-agent "$config"
chmod 640 "$root$config"
inside "$prefix/bin/edge-agent" check --config "$config" || fail "$root$config has the problems above; mend it and start the service"

systemctl --root="$root/" enable --quiet edge-agent.service
if [ -z "$root" ] && [ -d /run/systemd/system ] && [ "$start" = yes ]; then
  systemctl daemon-reload
  systemctl restart edge-agent.service
  systemctl --no-pager --lines=0 status edge-agent.service
fi
echo "done: configuration in $root$config, service edge-agent"
