#!/bin/bash
# The product under a real systemd: installed by its own installer from wheels, in a container without a network.
# Exit status 0: all held; 1: something did not; 77: this machine cannot run the check.
source "$(dirname "$0")/common.sh"
need_root
source "$MACHINES_SRC/wheels.sh"
source "$MACHINES_SRC/container.sh"
own_mounts "$@"
began=$SECONDS
need_packages systemd-container procps util-linux

tree=$("$MACHINES_SRC/build_rootfs.sh" amd64 bookworm systemd)
mapfile -t wanted < <("$EDGE_PYTHON" "$MACHINES_SRC/requirements.py" x86_64 3.11 onnx tflite serial)
wheels=$(fetch_wheels x86_64 3.11 "${wanted[@]}")
build=$(mktemp -d "$EDGE_MACHINES_DIR/build.XXXXXX")
cp "$wheels"/*.whl "$build/"
wheel=$(product_wheel "$build")
"$EDGE_PYTHON" "$MACHINES_SRC/make_models.py" "$build/models" >&2
boot_container "$tree"
mkdir -p "$CONTAINER_ROOT/srv/edge"
cp -r "$PROJECT/systemd" "$build"/*.whl "$CONTAINER_ROOT/srv/edge/"
mkdir -p "$CONTAINER_ROOT/etc/edge-agent"
cp "$build/models/box_onnx.edgemodel" "$build/models/box.csv" "$CONTAINER_ROOT/etc/edge-agent/"
rm -rf "$build"

passed=0 failed=0
check() { # check WHAT COMMAND...: runs the command in this shell
  local what=$1
  shift
  if "$@" > "$container_work/check.log" 2>&1; then
    passed=$((passed + 1))
    echo "ok    $what"
  else
    failed=$((failed + 1))
    echo "FAIL  $what"
    sed 's/^/        /' "$container_work/check.log" | tail -5
  fi
}
wait_until() { # wait_until SECONDS COMMAND...
  local tries=$(($1 * 5))
  shift
  for ((; tries > 0; tries--)); do "$@" > /dev/null 2>&1 && return 0; sleep 0.2; done
  "$@"
}
property() { inside systemctl show edge-agent --property="$1" --value; }
journal() { inside journalctl --unit=edge-agent --output=cat --no-pager; }
is_active() { [ "$(property ActiveState)" = active ] && [ "$(property SubState)" = running ]; }
# The service's main process as the container numbers it. Without one nothing may pass, nor may a signal go to process 0.
main_pid() {
  local pid
  pid=$(property MainPID)
  [ "${pid:-0}" -gt 1 ] || { echo "the service has no main process" >&2; return 1; }
  echo "$pid"
}
predictions() { cat "$CONTAINER_ROOT/var/lib/edge-agent/predictions.jsonl" 2>/dev/null | wc -l; }
more_predictions_than() { [ "$(predictions)" -gt "$1" ]; }
restarts_above() { [ "$(property NRestarts)" -gt "$1" ]; }
pid_of() { # pid_of ROLE: of the agent's processes
  inside edge-agent status --json | "$EDGE_PYTHON" -c '
import json, sys
print(next(p["pid"] for p in json.load(sys.stdin)["processes"] if p["role"].startswith(sys.argv[1])))' "$1"
}
answers() {
  local before
  before=$(predictions)
  wait_until 20 more_predictions_than "$((before + 20))"
}
# as_service COMMAND...: with the service's user and its view of the file system
as_service() {
  local pid
  pid=$(main_pid) || return
  inside nsenter --target "$pid" --mount --wd=/ -- setpriv --reuid=edge-agent --regid=edge-agent --init-groups "$@"
}
as_root_there() {
  local pid
  pid=$(main_pid) || return
  inside nsenter --target "$pid" --mount --wd=/ -- "$@"
}

write_config() {
  cat > "$CONTAINER_ROOT/etc/edge-agent/agent.toml" <<'TOML'
[device]
id = "box"
[mqtt]
host = "127.0.0.1"
[telemetry]
interval_s = 1
[[models]]
name = "box"
bundle = "/etc/edge-agent/box_onnx.edgemodel"
[[pipelines]]
name = "line"
model = "box"
source = { kind = "replay", path = "/etc/edge-agent/box.csv", rate_hz = 50, loop = true }
sinks = [{ kind = "jsonl", path = "/var/lib/edge-agent/predictions.jsonl" }]
TOML
  chmod 644 "$CONTAINER_ROOT"/etc/edge-agent/*
}

# Short times for the test; everything else is the unit as shipped.
write_dropin() {
  mkdir -p "$CONTAINER_ROOT/etc/systemd/system/edge-agent.service.d"
  printf '[Service]\nWatchdogSec=6\nRestartSec=200ms\nMemoryHigh=infinity\nMemoryMax=%s\n' "$1" \
    > "$CONTAINER_ROOT/etc/systemd/system/edge-agent.service.d/test.conf"
}

install_product() { inside /srv/edge/systemd/install.sh --package "/srv/edge/$(basename "$wheel")" --wheels /srv/edge; }
install_again() {
  write_config
  install_product && grep -q 'id = "box"' "$CONTAINER_ROOT/etc/edge-agent/agent.toml"
}

check "the installer works offline, from wheels" install_product
check "the service started with the example configuration" wait_until 30 is_active
write_dropin 300M
check "installing again keeps the configuration and restarts the service" install_again
check "READY=1 was sent and the service is active" wait_until 60 is_active
if ! is_active; then
  journal | tail -40
  echo "the service does not run: the other checks would mean nothing"
  exit 1
fi
check "predictions are written" answers
status_text_names_the_model() { property StatusText | grep -q 'box@1.0.0 serving'; }
check "systemctl status tells what it does" wait_until 10 status_text_names_the_model
echo "      $(property StatusText)"
verify_is_silent() { [ -z "$(inside systemd-analyze verify /etc/systemd/system/edge-agent.service 2>&1)" ]; }
check "systemd-analyze verify has nothing to say" verify_is_silent
is_confined() {
  local pid
  pid=$(main_pid) || return
  inside cat "/proc/$pid/status" | awk '/^Uid/ && $2 == 0 {bad = 1} /^CapBnd/ && $2 !~ /^0+$/ {bad = 1} /^Seccomp:/ && $2 != 2 {bad = 1}
    /^NoNewPrivs/ && $2 != 1 {bad = 1} {lines++} END {exit bad || !lines}'
}
check "it runs as its own user, without capabilities or new privileges, under seccomp" is_confined

cannot_write_outside() {
  local path
  for path in /etc/edge-agent/x /etc/x /usr/x /opt/edge-agent/x /root/x /home/x /var/x /var/lib/x /boot/x /x /sys/x /proc/sys/kernel/hostname; do
    if as_service sh -c "echo > $path" 2>/dev/null; then
      echo "$path is writable"
      return 1
    fi
  done
  as_service sh -c 'echo > /var/lib/edge-agent/x && rm /var/lib/edge-agent/x'
}
check "it cannot write outside its state" cannot_write_outside
read_only_even_for_root() { # the mounts are read-only: it is not only the user's rights that keep it out
  as_root_there true && ! as_root_there sh -c 'echo > /etc/edge-agent/x || echo > /usr/x || echo > /opt/edge-agent/x' 2>/dev/null
}
check "... nor could root, where it is" read_only_even_for_root
sees_memory() { as_service grep -q MemTotal /proc/meminfo; }
check "it sees /proc/meminfo" sees_memory
no_telemetry_files() { [ -d "$CONTAINER_ROOT/var/lib/edge-agent" ] && ! find "$CONTAINER_ROOT/var/lib/edge-agent" -iname '*DeveloperTools*' | grep -q .; }
check "no runtime left files of its own in the state" no_telemetry_files
talks_to_broker() { inside edge-agent status --json | grep -q '"connected": *true'; }
check "it is connected to the broker" wait_until 10 talks_to_broker

before=$(property NRestarts)
signal_role() { # signal_role SIGNAL ROLE
  local pid
  pid=$(pid_of "$2") && [ "$pid" -gt 1 ] && inside kill "-$1" "$pid"
}
check "a model worker killed with SIGKILL" signal_role KILL worker
check "... is replaced by the agent itself" answers
check "... without restarting the service" test "$(property NRestarts)" = "$before"

check "a pipeline that hangs (SIGSTOP)" signal_role STOP pipeline
hang_began=$SECONDS
recovered() { answers && is_active; }
check "... is noticed and answers come again" wait_until 45 recovered
echo "      $(seconds_since "$hang_began"); $(journal | grep -ciE 'watchdog timeout') watchdog timeouts, $(($(property NRestarts) - before)) restarts"

before=$(property NRestarts)
stop_control() {
  local pid
  pid=$(main_pid) && inside kill -STOP "$pid"
}
check "a control process that hangs (SIGSTOP)" stop_control
check "... is killed by the watchdog and restarted" wait_until 40 restarts_above "$before"
journal_says_watchdog() { journal | grep -q 'Watchdog timeout'; }
check "... the journal says so" journal_says_watchdog
check "... and answers come again" wait_until 30 answers

before=$(property NRestarts)
inside systemctl kill --signal=KILL --kill-whom=all edge-agent
check "kill -9 of everything is restarted" wait_until 20 restarts_above "$before"
check "... and answers come again" wait_until 30 answers

limit_memory() {
  local group
  group=$(property ControlGroup)
  { inside sh -c "cat /sys/fs/cgroup/memory$group/memory.limit_in_bytes /sys/fs/cgroup$group/memory.max 2>/dev/null" || true; } | grep -qx $((300 * 1024 * 1024))
}
check "MemoryMax is in force in the kernel" limit_memory
eat_memory() { # a process in the service's group asks for more than is left of the limit: the kernel kills it
  local group status=0
  group=$(property ControlGroup)
  inside sh -c "for d in /sys/fs/cgroup/memory$group /sys/fs/cgroup$group; do [ ! -w \$d/cgroup.procs ] || echo \$\$ > \$d/cgroup.procs; done
    exec /opt/edge-agent/bin/python -c 'x = bytearray(320 << 20)'" || status=$?
  echo "status $status, 137 is a kill"
  [ "$status" = 137 ]
}
check "MemoryMax holds: 320 MB more end in a kill" eat_memory
check "... and the device answers" wait_until 45 answers

stop_cleanly() { inside systemctl stop edge-agent && [ "$(property Result)" = success ] && [ "$(property ExecMainStatus)" = 0 ]; }
check "stop is clean" stop_cleanly
nothing_left() { ! inside pgrep -u edge-agent; }
check "... and leaves no process" nothing_left
[ "$failed" = 0 ] || journal | tail -40
echo "$passed passed, $failed failed, $(seconds_since "$began")"
[ "$failed" = 0 ]
