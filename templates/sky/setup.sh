# Gives the training program a Python with its requirements. Every input is an environment variable.
set -euo pipefail
export PATH="$HOME/.local/bin:$PATH"
mkdir -p "$HOME/tunefare-run/$TUNEFARE_RUN_ID"
requirements="$PWD/tasks/requirements.txt"
if [ -n "${TUNEFARE_PYTHON:-}" ]; then
  echo "tunefare: using the interpreter of this machine, $TUNEFARE_PYTHON"
  "$TUNEFARE_PYTHON" -c 'import accelerate, peft, torch, transformers'
else
  venv="$HOME/.tunefare/venv-$(sha256sum "$requirements" | cut -c1-16)"
  if [ -e "$venv/tunefare-ready" ]; then
    echo "tunefare: reusing $venv"
  else
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
  fi
fi
