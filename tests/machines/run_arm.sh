#!/bin/bash
# run_arm.sh TREE APP ARCH COMMAND...: runs COMMAND in the file tree TREE under emulation, in mount and process namespaces of its own.
# APP (unpacked wheels) is at /opt/app, the project at /opt/project, and BOARD_DATA, if set, at /data (writable).
source "$(dirname "$0")/common.sh"
need_root
tree=${1:?tree} app=${2:?app} arch=${3:?architecture}
shift 3
environment=(PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8 ORT_DISABLE_TELEMETRY=1 PYTHONDONTWRITEBYTECODE=1
  OPENBLAS_NUM_THREADS=1 QEMU_CPU="$(emulated_cpu "$arch")" PYTHONPATH=/opt/app:/opt/project)
if [ "$arch" = armhf ]; then # numpy is Debian's; its BLAS is chosen by alternatives, whose scripts have not run
  environment+=(LD_LIBRARY_PATH=/usr/lib/arm-linux-gnueabihf/blas:/usr/lib/arm-linux-gnueabihf/lapack
    PYTHONPATH=/opt/app:/opt/project:/usr/lib/python3/dist-packages)
fi
mkdir -p "$tree"/{opt/app,opt/project,data}
# shellcheck disable=SC2016
exec nice timeout --kill-after=5 "${TIMEOUT_S:-300}" env -i "${environment[@]}" \
  unshare --mount --pid --fork --kill-child --propagation private -- /bin/bash -euc '
    tree=$1 app=$2 project=$3 data=$4
    shift 4
    mount -t proc proc "$tree/proc"
    mount --rbind /sys "$tree/sys"
    mount --rbind /dev "$tree/dev"
    mount -t tmpfs tmpfs "$tree/tmp"
    mount -t tmpfs tmpfs "$tree/run"
    mount --bind "$tree/.board/cpuinfo" "$tree/proc/cpuinfo"
    mount --bind "$app" "$tree/opt/app"
    mount --bind -o ro "$project" "$tree/opt/project"
    [ -z "$data" ] || mount --bind "$data" "$tree/data"
    # Not exec: this shell stays process 1 and buries orphans, as an init would; the command is an ordinary process.
    chroot "$tree" "$@"' -- "$tree" "$app" "$PROJECT" "${BOARD_DATA:-}" "$@"
