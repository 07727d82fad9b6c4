# Gives the training program a Python with its requirements, on each node. Every input is an environment variable.
if [ -n "${TUNEFARE_MANAGED_LEAVE_S:-}" ] && [ -n "${TUNEFARE_END_AT:-}" ] && [ "$(date +%s)" -ge "$TUNEFARE_END_AT" ]; then
  # A set-up that fails is not tried again, where a machine that ends itself would be replaced.
  echo "tunefare: the cap on dollars or duration was reached before this machine began" >&2
  exit 1
fi
[ "${TUNEFARE_DEADMAN:-on}" = off ] || bash deadman.sh arm || exit 1
set -euo pipefail
umask 077
set_up() {
  export PATH="$HOME/.local/bin:$PATH"
  mkdir -p "$HOME/tunefare-run/$TUNEFARE_RUN_ID"
  requirements="$PWD/tasks/requirements.txt"
  if [ -n "${TUNEFARE_PYTHON:-}" ]; then
    echo "tunefare: using the interpreter of this machine, $TUNEFARE_PYTHON"
    "$TUNEFARE_PYTHON" -c 'import accelerate, peft, torch, transformers'
    return
  fi
  # Nodes may share their home; where the file system keeps no locks they hardly do.
  mkdir -p "$HOME/.tunefare"
  exec 9> "$HOME/.tunefare/lock"
  flock 9 || echo "tunefare: cannot lock $HOME/.tunefare" >&2
  venv="$HOME/.tunefare/venv-$(sha256sum "$requirements" | cut -c1-16)"
  if [ -e "$venv/tunefare-ready" ]; then
    echo "tunefare: reusing $venv"
    return
  fi
  command -v uv >/dev/null || python3 -m pip install --quiet --user uv
  export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"
  options=()
  # Wheels that the machine's owner provides already are of the right build.
  if [ -z "$UV_FIND_LINKS" ]; then
    unset UV_FIND_LINKS
    options+=(--torch-backend=auto)
  fi
  uv venv --quiet --clear --python "${TUNEFARE_PYTHON_VERSION:-3.11}" "$venv"
  uv pip install --quiet --python "$venv/bin/python" ${options[@]+"${options[@]}"} -r "$requirements"
  touch "$venv/tunefare-ready"
}
# Set-up is a part of the job, so SkyPilot's autostop does not end a machine whose set-up hangs.
status=0
SECONDS=0
timeout --kill-after=30 "$TUNEFARE_SETUP_TIMEOUT_S" bash -euo pipefail -c "$(declare -f set_up); set_up" || status=$?
if [ "$status" -ne 0 ] && [ "$SECONDS" -ge "$TUNEFARE_SETUP_TIMEOUT_S" ]; then
  echo "tunefare: the set-up was not done within $TUNEFARE_SETUP_TIMEOUT_S s" >&2
fi
exit "$status"
