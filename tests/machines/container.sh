# shellcheck shell=bash
# Sourced after common.sh: a container with its own systemd as PID 1, also where PID 1 of the machine is something else.
#
#   own_mounts "$@"             run the script again in a mount namespace of its own, so that nothing stays mounted
#   boot_container TREE         boots a copy-on-write view of TREE; TREE itself is not changed
#   inside COMMAND...           runs a command in it
#   CONTAINER_ROOT              its file tree as seen from here
# It has a network of its own with nothing but a loopback. It is powered off when the script ends.

own_mounts() {
  [ -n "${EDGE_OWN_MOUNTS:-}" ] || EDGE_OWN_MOUNTS=1 exec unshare --mount --propagation private "$0" "$@"
}

container_cgroups=() # "created:parent" of each
container_leader=
container_nspawn=

# On machines with cgroup v1 the launcher gets a group of its own in every controller; below it the container's limits can hold.
# With v2 alone systemd-nspawn arranges that itself.
enter_own_cgroups() {
  local controllers path mounted group entry
  [ -d /sys/fs/cgroup/memory ] || return 0
  while IFS=: read -r _ controllers path; do
    case $controllers in
      name=*) mounted=/sys/fs/cgroup/systemd ;;
      "") mounted=/sys/fs/cgroup/unified ;;
      *) mounted=/sys/fs/cgroup/$controllers ;;
    esac
    path=${path%/}
    group=$mounted$path/edge-test-$$
    [ -d "$mounted$path" ] && mkdir "$group" 2>/dev/null || continue
    if [ "$controllers" = cpuset ]; then
      cat "$mounted$path/cpuset.cpus" > "$group/cpuset.cpus"
      cat "$mounted$path/cpuset.mems" > "$group/cpuset.mems"
      echo 1 > "$group/cgroup.clone_children"
    fi
    container_cgroups+=("$group:$mounted$path")
  done <<< "$(cat /proc/self/cgroup)"
  for entry in "${container_cgroups[@]}"; do echo $$ > "${entry%%:*}/cgroup.procs"; done
}

leave_own_cgroups() {
  local entry
  for entry in "${container_cgroups[@]}"; do
    echo $$ > "${entry##*:}/cgroup.procs"
    for _ in 1 2 3 4 5; do
      find "${entry%%:*}" -depth -type d -exec rmdir {} \; 2>/dev/null
      [ -d "${entry%%:*}" ] || break
      sleep 0.2
    done
  done
}

inside() { nsenter --target "$container_leader" --mount --uts --ipc --net --pid --cgroup -- "$@"; }

end_container() {
  set +e
  if [ -n "$container_leader" ] && kill -0 "$container_leader" 2>/dev/null; then
    timeout 20 nsenter --target "$container_leader" --mount --uts --ipc --net --pid --cgroup -- systemctl poweroff --no-block >/dev/null 2>&1
    for _ in $(seq 60); do kill -0 "$container_nspawn" 2>/dev/null || break; sleep 0.25; done
    kill -9 "$container_leader" "$container_nspawn" 2>/dev/null
  fi
  [ -z "$container_nspawn" ] || wait "$container_nspawn" 2>/dev/null
  leave_own_cgroups
  umount "$CONTAINER_ROOT" 2>/dev/null
  umount -l "$container_work" 2>/dev/null
  rmdir "$container_work" 2>/dev/null
}

find_leader() {
  local child
  for child in $(pgrep -P "$container_nspawn" || true); do
    case $(tr '\0' ' ' < "/proc/$child/cmdline" 2>/dev/null) in *lib/systemd/systemd*) container_leader=$child ;; esac
  done
  [ -n "$container_leader" ]
}

boot_container() {
  local tree=$1 state started controller
  started=$(date +%s%N)
  container_work=$EDGE_MACHINES_DIR/container.$$
  CONTAINER_ROOT=$container_work/root
  mkdir -p "$container_work"
  mount -t tmpfs tmpfs "$container_work"
  mkdir "$container_work"/{upper,work,root}
  trap end_container EXIT
  mount -t overlay overlay -o "lowerdir=$tree,upperdir=$container_work/upper,workdir=$container_work/work" "$CONTAINER_ROOT"
  enter_own_cgroups
  systemd-nspawn --quiet --directory="$CONTAINER_ROOT" --boot --register=no --keep-unit --machine="edge$$" --private-network \
    --console=pipe < /dev/null > "$EDGE_MACHINES_DIR/container.log" 2>&1 &
  container_nspawn=$!
  for _ in $(seq 600); do
    find_leader && break
    kill -0 "$container_nspawn" 2>/dev/null || { cat "$EDGE_MACHINES_DIR/container.log" >&2; cannot "systemd-nspawn did not start"; }
    sleep 0.05
  done
  for _ in $(seq 300); do
    state=$(inside systemctl is-system-running 2>/dev/null || true)
    case $state in running | degraded) break ;; esac
    sleep 0.2
  done
  say "container: systemd is $state after $((($(date +%s%N) - started) / 1000000)) ms"
  if [ ${#container_cgroups[@]} -gt 0 ]; then # nspawn mounts v1 controllers read-only, and systemd then sets no limits
    for controller in memory cpu cpuacct pids; do inside mount -o remount,rw,bind "/sys/fs/cgroup/$controller" 2>/dev/null || true; done
    inside systemctl daemon-reexec
  fi
}
