# Starts the training program; its exit status is the task's. Every input is an environment variable.
set -euo pipefail
run_dir="$HOME/tunefare-run/$TUNEFARE_RUN_ID"
mkdir -p "$run_dir"
cp job.json "$run_dir/job.json"
python="${TUNEFARE_PYTHON:-}"
if [ -z "$python" ]; then
  python="$HOME/.tunefare/venv-$(sha256sum tasks/requirements.txt | cut -c1-16)/bin/python"
fi
command=("$python")
processes="${SKYPILOT_NUM_GPUS_PER_NODE:-0}"
nodes="${SKYPILOT_NUM_NODES:-1}"
if [ "$processes" -gt 1 ] || [ "$nodes" -gt 1 ]; then
  command+=(-m torch.distributed.run --nnodes "$nodes" --node-rank "${SKYPILOT_NODE_RANK:-0}"
    --nproc-per-node "$(( processes > 0 ? processes : 1 ))"
    --master-addr "$(printf '%s\n' "${SKYPILOT_NODE_IPS:-127.0.0.1}" | head -n 1)" --master-port 29511)
fi
command+=(-m tasks.train "$run_dir/job.json" --out "$run_dir")
if [ -n "${TUNEFARE_MAX_DURATION_S:-}" ]; then
  # The last net: the program itself stops at the cap, this ends a program that hangs.
  command=(timeout --signal=TERM --kill-after=120 "$TUNEFARE_MAX_DURATION_S" "${command[@]}")
fi
# Process id and start time together name one process for ever; `exec` keeps both.
if [ "${SKYPILOT_NODE_RANK:-0}" = 0 ]; then
  printf '%s %s\n' "$$" "$(cut -d ' ' -f 22 "/proc/$$/stat")" > "$run_dir/pid"
fi
export PYTHONUNBUFFERED=1
exec "${command[@]}"
