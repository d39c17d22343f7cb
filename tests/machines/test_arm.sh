#!/bin/bash
# The product on ARM user space under emulation, with the wheels a board would install: the same answers as on this machine, a running
# agent, and the tests of arm_tests.txt. Emulated times mean nothing and are not judged.
# Exit status 0: all held; 1: something did not; 77: this machine cannot run the check. TARGETS chooses among the three below.
source "$(dirname "$0")/common.sh"
need_root
source "$MACHINES_SRC/wheels.sh"
need_emulation
began=$SECONDS
[ "$(uname -m)" = x86_64 ] || cannot "the check compares ARM with x86-64 and needs such a host"

test_tools=(pytest pytest-timeout hypothesis psutil)
# armv7l: numpy, psutil and cffi are the distribution's, so pip must not look for them; what is needed is named one by one.
armv7_extra=(cryptography urllib3 iniconfig pluggy pygments packaging sortedcontainers attrs)

prepare_app() { # prepare_app ARCH PYTHON: unpacked wheels; prints the folder
  local arch=$1 python=$2 machine=aarch64 options=() extras=(onnx tflite serial) folder wanted
  [ "$arch" != armhf ] || { machine=armv7l; extras=(tflite serial); options=(--no-deps); }
  mapfile -t wanted < <("$EDGE_PYTHON" "$MACHINES_SRC/requirements.py" "$machine" "$python" "${extras[@]}")
  wanted+=("${test_tools[@]}")
  [ "$arch" = armhf ] || wanted+=(onnx)
  if [ "$arch" = armhf ]; then
    mapfile -t wanted < <(printf '%s\n' "${wanted[@]}" "${armv7_extra[@]}" | grep -vE '^(numpy|psutil)')
  fi
  folder=$EDGE_MACHINES_DIR/app-$arch-$python-$(digest "${wanted[@]}")
  if [ ! -e "$folder/.complete" ]; then
    rm -rf "$EDGE_MACHINES_DIR/app-$arch-$python-"* # of earlier requirements
    unpack_wheels "$folder" "$machine" "$python" "${options[@]}" "${wanted[@]}"
    touch "$folder/.complete"
  fi
  echo "$folder"
}

run_target() { # run_target ARCH SUITE
  local arch=$1 suite=$2 started=$SECONDS tree app data=$work/$1-$2 bundles tests status=0
  tree=$("$MACHINES_SRC/build_rootfs.sh" "$arch" "$suite" python) || return $?
  app=$(prepare_app "$arch" "$(sed s/python// "$tree/.python")") || return $?
  mkdir -p "$data"
  cp -r "$work"/models "$work"/*.edgemodel "$PROJECT/examples/digits/digits.npz" "$data/"
  bundles=(/data/digits_tflite.edgemodel)
  [ "$arch" = armhf ] || bundles+=(/data/digits_onnx.edgemodel)
  run() { BOARD_DATA=$data "$MACHINES_SRC/run_arm.sh" "$tree" "$app" "$arch" /usr/bin/python3 "$@"; }
  echo "== $arch $suite"
  run /opt/project/tests/machines/arm_probe.py /data/models /data/other.json || status=1
  "$EDGE_PYTHON" "$MACHINES_SRC/arm_probe.py" --compare "$work/native.json" "$data/other.json" || status=1
  run /opt/project/tests/machines/arm_agent.py "${bundles[@]}" --samples /data/digits.npz --windows 50 || status=1
  mapfile -t tests < <(sed -E "/^#/d; $([ "$arch" = armhf ] && echo '/^64:/d;') s#^(64: )?#/opt/project/#" "$MACHINES_SRC/arm_tests.txt")
  run -m pytest -q --tb=short --durations=5 -p no:cacheprovider -m "not machine" --timeout 250 --rootdir /opt/project -c /opt/project/setup.cfg "${tests[@]}" || status=1
  echo "== $arch $suite: $([ $status = 0 ] && echo held || echo FAILED), $(seconds_since "$started")"
  return $status
}

work=$(mktemp -d "$EDGE_MACHINES_DIR/arm.XXXXXX")
trap 'rm -rf "$work"' EXIT
"$EDGE_PYTHON" "$MACHINES_SRC/make_models.py" "$work" --digits
(cd "$PROJECT" && PYTHONPATH=$PROJECT ORT_DISABLE_TELEMETRY=1 "$EDGE_PYTHON" "$MACHINES_SRC/arm_probe.py" "$work/models" "$work/native.json")

# Side by side as far as there are processors, each with its output kept together.
targets=${TARGETS:-arm64:bookworm arm64:trixie armhf:bookworm}
for target in $targets; do
  while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n || true; done
  say "$target begins"
  (
    status=0
    run_target "${target%%:*}" "${target##*:}" > "$work/$target.log" 2>&1 || status=$?
    echo "$status" > "$work/$target.status"
    cat "$work/$target.log"
  ) &
done
wait
failed=0
for target in $targets; do
  case $(cat "$work/$target.status" 2>/dev/null) in
    0) ;;
    "$CANNOT") cannot "$target: see above" ;;
    *) failed=$((failed + 1)) ;;
  esac
done
echo "$failed targets failed, $(seconds_since "$began")"
[ "$failed" = 0 ]
