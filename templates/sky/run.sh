# Starts the training program; its exit status is the task's. Every input is an environment variable. It runs on each
# node; the folder of the run may be one for all nodes or one on each, of which only the first node's is written to.
set -euo pipefail
# Machines may have other users: what the run writes is its user's alone.
umask 077
# Where the set-up's processes end with it (Slurm) the timer is started again, with the same end.
[ "${TUNEFARE_DEADMAN:-on}" = off ] || bash deadman.sh arm
run_dir="$HOME/tunefare-run/$TUNEFARE_RUN_ID"
mkdir -p "$run_dir"
# In one step, as another node may be reading it already.
cp job.json "$run_dir/.job.json.$$.$HOSTNAME"
mv "$run_dir/.job.json.$$.$HOSTNAME" "$run_dir/job.json"
python="${TUNEFARE_PYTHON:-}"
if [ -z "$python" ]; then
  python="$HOME/.tunefare/venv-$(sha256sum tasks/requirements.txt | cut -c1-16)/bin/python"
fi
train=("$run_dir/job.json" --out "$run_dir")
processes="${SKYPILOT_NUM_GPUS_PER_NODE:-0}"
nodes="${SKYPILOT_NUM_NODES:-1}"
if [ "$processes" -gt 1 ] || [ "$nodes" -gt 1 ]; then
  # Runs that share a machine meet at different ports.
  port="$(( 20000 + $(printf '%s' "$TUNEFARE_RUN_ID" | cksum | cut -d ' ' -f 1) % 10000 ))"
  master="$(printf '%s\n' "${SKYPILOT_NODE_IPS:-127.0.0.1}" | head -n 1)"
  command=("$python" -m tasks.launch --nodes "$nodes" --node-rank "${SKYPILOT_NODE_RANK:-0}"
    --processes "$(( processes > 0 ? processes : 1 ))" --master "$master:$port" -- "${train[@]}")
else
  command=("$python" -m tasks.train "${train[@]}")
fi
if [ -n "${TUNEFARE_MAX_DURATION_S:-}" ]; then
  # The last net: the program itself stops at the cap, this ends a program that hangs.
  command=(timeout --signal=TERM --kill-after=120 "$TUNEFARE_MAX_DURATION_S" "${command[@]}")
fi
# Process id and start time together name one process for ever; `exec` keeps both.
rank="${SKYPILOT_NODE_RANK:-0}"
mark=""
[ "$rank" = 0 ] || mark="-$rank"
printf '%s %s\n' "$$" "$(cut -d ' ' -f 22 "/proc/$$/stat")" > "$run_dir/pid$mark"
export PYTHONUNBUFFERED=1
exec "${command[@]}"
