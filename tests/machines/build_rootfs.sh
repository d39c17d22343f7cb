#!/bin/bash
# build_rootfs.sh ARCH SUITE KIND: a Debian file tree, kept and reused. Prints its path.
#   ARCH   amd64 | arm64 | armhf
#   SUITE  bookworm | trixie
#   KIND   python   packages are unpacked and none of their scripts runs: seconds, even for ARM; enough for Python and pytest
#          systemd  a configured system that boots
source "$(dirname "$0")/common.sh"
arch=${1:?architecture} suite=${2:?suite} kind=${3:?kind}
tree=$EDGE_MACHINES_DIR/$arch-$suite-$kind

python_packages() {
  local list=base-files,dash,coreutils,python3,ca-certificates,libgomp1,libstdc++6,libatomic1,media-types,mount,util-linux
  # No armv7l wheels of these exist: they come from the distribution, as on a real board.
  [ "$arch" != armhf ] || list+=,python3-numpy,python3-psutil,python3-cffi-backend
  echo "$list"
}

unpack_python_tree() {
  nice mmdebstrap --quiet --architectures="$arch" --variant=extract --include="$(python_packages)" \
    "$suite" "$tree.new" "deb $(debian_mirror) $suite main" >&2
  [ -e "$tree.new/bin/sh" ] || ln -s dash "$tree.new/bin/sh"
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n' > "$tree.new/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' > "$tree.new/etc/group"
}

systemd_packages=systemd,systemd-sysv,dbus,python3,python3-venv,iproute2,procps,ca-certificates,libgomp1,mosquitto

install_systemd_tree() {
  nice mmdebstrap --quiet --architectures="$arch" --variant=minbase --include="$systemd_packages" \
    "$suite" "$tree.new" "deb $(debian_mirror) $suite main" >&2
}

# An ARM /proc/cpuinfo with as many processors as the host has: onnxruntime's cpuinfo library crashes under QEMU 7.2 when
# /sys and /proc/cpuinfo contradict each other.
write_board_files() {
  local features part model
  case $arch in
    arm64) features="fp asimd evtstrm crc32 cpuid" part=0xd08 model="Raspberry Pi 4 Model B Rev 1.5" ;;
    armhf) features="half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm crc32" part=0xc07
      model="Raspberry Pi 2 Model B Rev 1.1" ;;
    *) return 0 ;;
  esac
  mkdir -p "$tree.new/.board"
  local processor
  for ((processor = 0; processor < $(nproc --all); processor++)); do
    printf 'processor\t: %d\nBogoMIPS\t: 108.00\nFeatures\t: %s\nCPU implementer\t: 0x41\nCPU architecture: 8\n' "$processor" "$features"
    printf 'CPU variant\t: 0x0\nCPU part\t: %s\nCPU revision\t: 3\n\n' "$part"
  done > "$tree.new/.board/cpuinfo"
  printf 'Revision\t: c03115\nSerial\t\t: 10000000abcdef01\nModel\t\t: %s\n' "$model" >> "$tree.new/.board/cpuinfo"
}

need_root
need_packages mmdebstrap debian-archive-keyring util-linux
[ "$arch" = amd64 ] || { need_emulation; need_packages arch-test; }
exec 9> "$tree.lock"
flock 9
recipe=$(digest "$(python_packages)" "$systemd_packages" "$(nproc --all)")
if [ "$(cat "$tree/.recipe" 2>/dev/null)" != "$recipe" ]; then
  started=$SECONDS
  rm -rf "$tree.new" "$tree"
  case $kind in
    python) unpack_python_tree ;;
    systemd) install_systemd_tree ;;
    *) echo "unknown kind $kind" >&2; exit 2 ;;
  esac || cannot "Debian $suite for $arch could not be fetched"
  mkdir -p "$tree.new"/{proc,sys,dev,run,tmp,opt}
  write_board_files
  find "$tree.new/usr/bin" -name 'python3.[0-9]*' -printf '%f\n' | grep -E '^python3\.[0-9]+$' | head -1 > "$tree.new/.python"
  echo "$recipe" > "$tree.new/.recipe"
  mv "$tree.new" "$tree"
  say "$tree: $(du -sm "$tree" | cut -f1) MB, $(cat "$tree/.python"), $(seconds_since $started)"
fi
echo "$tree"
