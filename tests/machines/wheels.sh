# shellcheck shell=bash
# Sourced after common.sh: wheels for another machine, fetched by this one's pip and kept.

# The project's environment: it has pip, the converter, and what the test models need. PYTHON names another.
EDGE_PYTHON=${PYTHON:-$PROJECT/.venv/bin/python}
[ -x "$EDGE_PYTHON" ] || cannot "there is no $EDGE_PYTHON: run \`make test\` once, or set PYTHON"

# pip_target MACHINE PYTHON: pip's words for that machine, into the array PIP_TARGET
pip_target() {
  local glibc newest=41
  [ "$2" != 3.11 ] || newest=36 # bookworm's
  PIP_TARGET=(--only-binary=:all: --python-version "$2" --implementation cp --abi "cp${2/./}" --abi abi3 --abi none)
  for ((glibc = newest; glibc >= 17; glibc--)); do PIP_TARGET+=(--platform "manylinux_2_${glibc}_$1"); done
  PIP_TARGET+=(--platform "manylinux2014_$1" --platform "linux_$1")
}

# fetch_wheels MACHINE PYTHON REQUIREMENT...: prints a folder with the wheels of all of them and of what they need
fetch_wheels() {
  local machine=$1 python=$2 folder started=$SECONDS
  shift 2
  folder=$EDGE_MACHINES_DIR/wheels-$machine-$python-$(digest "$@")
  if [ ! -e "$folder/.complete" ]; then
    rm -rf "$EDGE_MACHINES_DIR/wheels-$machine-$python-"* # of earlier requirements
    mkdir -p "$folder"
    pip_target "$machine" "$python"
    nice "$EDGE_PYTHON" -m pip download --quiet --disable-pip-version-check --dest "$folder" "${PIP_TARGET[@]}" "$@" 2> "$EDGE_MACHINES_DIR/pip.log" >&2 \
      || { cat "$EDGE_MACHINES_DIR/pip.log" >&2; cannot "wheels for $machine and Python $python could not be fetched"; }
    touch "$folder/.complete"
    say "wheels for $machine and Python $python: $(du -sm "$folder" | cut -f1) MB, $(seconds_since "$started")"
  fi
  echo "$folder"
}

# unpack_wheels TARGET MACHINE PYTHON PIP-ARGUMENT...: unpacks wheels into the folder TARGET, without running any of them
unpack_wheels() {
  local target=$1 machine=$2 python=$3
  shift 3
  pip_target "$machine" "$python"
  nice "$EDGE_PYTHON" -m pip install --quiet --disable-pip-version-check --upgrade --target "$target" "${PIP_TARGET[@]}" "$@" 2> "$EDGE_MACHINES_DIR/pip.log" >&2 \
    || { cat "$EDGE_MACHINES_DIR/pip.log" >&2; cannot "wheels for $machine and Python $python could not be fetched"; }
}

# product_wheel FOLDER: builds the project's own wheel into FOLDER and prints its path
product_wheel() {
  local copy
  copy=$(mktemp -d "$EDGE_MACHINES_DIR/source.XXXXXX")
  # Built from a copy, for setuptools leaves its working files beside the sources.
  (cd "$PROJECT" && tar -c --exclude=__pycache__ --exclude='*.egg-info' README.md LICENSE setup.cfg pyproject.toml \
    edge_agent converters device_profiles firmware_hooks fleet_controller 2>/dev/null) | tar -x -C "$copy"
  nice "$EDGE_PYTHON" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$1" "$copy" > "$EDGE_MACHINES_DIR/pip.log" 2>&1 \
    || { cat "$EDGE_MACHINES_DIR/pip.log" >&2; return 1; }
  rm -rf "$copy"
  ls -t "$1"/edge_runtime-*.whl | head -1
}
