# The dead-man timer of a run: a process in a session of its own that needs nobody, and ends the trainer, then the
# machine, when the cap or the longest duration is reached, when the trainer gives no sign of life or makes no progress,
# and when nobody fetches what it left. `bash deadman.sh arm` starts it once; every input is an environment variable.
#
# It decides by the system's uptime, which counts while a machine sleeps and does not follow a clock that is set, and by
# what changes in the heartbeat, never by what the trainer's clock says. Bash and coreutils; Python only to ask a cloud.
set -u
run_dir="${TUNEFARE_RUN_DIR:-$HOME/tunefare-run/$TUNEFARE_RUN_ID}"
rank="${SKYPILOT_NODE_RANK:-${SKYPILOT_SETUP_NODE_RANK:-0}}"
# Nodes may share the folder.
mark=""
[ "$rank" = 0 ] || mark="-$rank"
place="$run_dir/.deadman$mark"

cs() {  # seconds, maybe with a fraction -> REPLY in hundredths
  local whole="${1%%.*}" part=0
  [ "$whole" = "$1" ] || part="${1#*.}"
  part="${part}00"
  REPLY=$(( 10#${whole:-0} * 100 + 10#${part:0:2} ))
}

up() { local now; read -r now _ < /proc/uptime; cs "$now"; }

cs "${TUNEFARE_STARTUP_S:-120}"; startup=$REPLY  # to load libraries, after a set-up that took all of its time
cs "${TUNEFARE_GRACE_S:-60}"; grace=$REPLY       # from SIGTERM to SIGKILL where it is not the cap that ends the trainer
cs "${TUNEFARE_DYING_S:-120}"; dying=$REPLY      # from SIGKILL to the machine's end where the trainer lives on
cs "${TUNEFARE_CLOCK_SLACK_S:-60}"; slack=$REPLY # by which two clocks that are right may differ

say() { printf '%(%Y-%m-%dT%H:%M:%S%z)T %s\n' -1 "$*"; }

is_alive() {  # "pid starttime": both name one process for ever
  local pid="${1%% *}" started="${1##* }" stat
  [ -n "$pid" ] && { read -r stat < "/proc/$pid/stat"; } 2>/dev/null || return 1
  stat="${stat##*) }"
  set -- $stat
  [ "$1" != Z ] && [ "${20}" = "$started" ]
}

with_descendants() {  # pids of a process and all below it
  local child children=""
  echo "$1"
  { read -r children < "/proc/$1/task/$1/children"; } 2>/dev/null
  for child in $children; do with_descendants "$child"; done
}

arm() {
  local known=""
  [ -r /proc/uptime ] || { echo "tunefare: this system has no /proc: no dead-man timer"; return 0; }
  mkdir -p "$run_dir" "$place"
  { read -r known < "$place/pid"; } 2>/dev/null
  is_alive "$known" && return 0
  # A copy: the folder that it came from may be written anew while bash reads it.
  cp "${BASH_SOURCE[0]}" "$place/deadman.sh"
  cp "$(dirname "${BASH_SOURCE[0]}")/deadman_end.py" "$place/" 2>/dev/null
  [ -e "$place/armed" ] || rm -f "$run_dir/stopped-by$mark"
  # Forked twice: whoever collects the children of the set-up when it has ended must not find this one among them.
  ( setsid bash "$place/deadman.sh" watch < /dev/null >> "$run_dir/deadman$mark.log" 2>&1 & )
  for _ in {1..100}; do
    { read -r known < "$place/pid"; } 2>/dev/null
    is_alive "$known" && return 0
    sleep 0.1
  done
  echo "tunefare: the dead-man timer did not start; see $run_dir/deadman$mark.log" >&2
  return 1
}

find_deadline() {  # sets deadline (uptime) and is_clock_right; the same again after a new start
  local boot="" kept_boot="" kept="" left allowed wall low
  { read -r boot < /proc/sys/kernel/random/boot_id; } 2>/dev/null
  up; local now=$REPLY
  deadline="" is_clock_right=no
  [ -n "${TUNEFARE_ALLOWED_S:-}" ] || return 0
  { read -r kept_boot kept is_clock_right < "$place/armed"; } 2>/dev/null
  if [ -n "$kept" ] && [ "$kept_boot" = "$boot" ]; then deadline=$kept; return 0; fi
  cs "$TUNEFARE_ALLOWED_S"; allowed=$REPLY; left=$allowed; is_clock_right=no
  if [ -n "${TUNEFARE_END_AT:-}" ]; then
    printf -v wall '%(%s)T' -1
    cs "$TUNEFARE_END_AT"; left=$(( REPLY - wall * 100 ))
    cs "${TUNEFARE_LAUNCH_TIMEOUT_S:-1800}"; low=$(( allowed - REPLY - slack ))
    # After a new start of the machine nobody knows how long it was away: its clock is all there is.
    [ -n "$kept" ] && low=0
    # A launch takes no longer than its limit: a clock that says otherwise is wrong.
    if [ "$left" -le $(( allowed + slack )) ] && [ "$left" -ge "$low" ]; then is_clock_right=yes; fi
    [ "$left" -le "$allowed" ] || left=$allowed
    [ "$left" -ge "$low" ] || left=$low
  fi
  deadline=$(( now + left ))
  printf '%s %s %s\n' "${boot:--}" "$deadline" "$is_clock_right" > "$place/armed"
}

is_over() {  # the cap: by the uptime, and by the clock where it was right (a machine may have been frozen)
  [ -n "$deadline" ] || return 1
  [ "$now" -ge "$deadline" ] && return 0
  [ "$is_clock_right" = yes ] || return 1
  local wall
  printf -v wall '%(%s)T' -1
  cs "$TUNEFARE_END_AT"
  [ $(( wall * 100 )) -ge "$REPLY" ]
}

look_at_trainer() {  # sets trainer, and its state: none, alive or ended
  local line="" stamp told=""
  # One that was seen is known also when its file is gone.
  { read -r told < "$run_dir/pid$mark"; } 2>/dev/null && trainer="$told"
  if [ -z "$trainer" ]; then state=none
  elif is_alive "$trainer"; then state=alive; ended_at=""
  elif [ "$state" != ended ]; then state=ended; ended_at=$now; fi
  { read -r line < "$run_dir/heartbeat$mark.json"; } 2>/dev/null
  stamp="$(stat -c '%Y' "$run_dir/heartbeat$mark.json" 2>/dev/null) $line"
  [ "$stamp" != "$last_beat" ] || return 0
  last_beat="$stamp" beat_at=$now
  [ -z "$line" ] && return 0
  has_beaten=yes
  [[ "$line" =~ \"progress_at\":\ ([0-9.]+) ]] && [ "${BASH_REMATCH[1]}" != "$progress" ] &&
    progress="${BASH_REMATCH[1]}" progress_at=$now
  [[ "$line" =~ \"busy_at\":\ ([0-9.]+) ]] && [ "${BASH_REMATCH[1]}" != "$busy" ] &&
    busy="${BASH_REMATCH[1]}" busy_at=$now
  # Only training needs the accelerator all the time.
  [[ "$line" == *'"phase": "training"'* ]] || busy_at=$now
  return 0
}

why_end() {  # sets reason and words, or leaves them empty
  reason="" words=""
  local silent=$(( now - beat_at )) still=$(( now - progress_at )) idle=$(( now - busy_at ))
  if [ -n "$deadline" ] && [ "$now" -ge $(( deadline - wrap_up / 2 )) ]; then
    reason=cap words="the cap on dollars or duration is $(( (deadline - now) / 100 )) s away"
  elif [ "$has_beaten" = no ]; then
    [ $(( now - armed_at )) -le $(( setup_limit + startup )) ] ||
      { reason=setup words="no sign of life of the trainer $(( (now - armed_at) / 100 )) s after the machine was ready"; }
  elif [ "$state" != alive ]; then
    return 0
  elif [ "$silent" -gt "$beat_limit" ]; then
    reason=silence words="no sign of life of the trainer for $(( silent / 100 )) s"
  elif [ -n "$hang_limit" ] && [ "$still" -gt "$hang_limit" ]; then
    reason=hang words="no step, evaluated batch or saved file for $(( still / 100 )) s"
  elif [ -n "$hang_limit" ] && [ "$idle" -gt "$hang_limit" ]; then
    reason=hang words="the accelerator has done nothing for $(( idle / 100 )) s of training"
  fi
}

ask_trainer() {
  say "$reason: $words; SIGTERM to the trainer"
  printf '%s: %s\n' "$reason" "$words" > "$run_dir/stopped-by$mark"
  asked="$reason" asked_at=$now
  [ "$state" = alive ] || return 0
  local pid="${trainer%% *}" child=""
  # `timeout` would hand the signal on, and end the program two minutes later, saving or not.
  if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = timeout ]; then read -r child < "/proc/$pid/task/$pid/children"; fi
  kill -TERM ${child:-$pid} 2>/dev/null
}

kill_trainer() {
  [ "$state" = alive ] || return 0
  if [ "$killed" != "$trainer" ]; then say "SIGKILL to the trainer"; killed="$trainer" killed_at=$now; fi
  kill -KILL $(with_descendants "${trainer%% *}") 2>/dev/null
}

lives_on() {  # no signal ends a process that waits for a disk or a driver: only the machine's end does
  [ "$state" = alive ] && [ "$killed" = "$trainer" ] && [ $(( now - killed_at )) -ge "$dying" ]
}

is_fetched_from() {  # somebody copies results: each copy has a server on this side
  [ -z "${TUNEFARE_LOCAL_PYTHON:-}" ] || return 1
  if command -v pgrep > /dev/null; then pgrep -u "$EUID" -x rsync > /dev/null
  else grep -qsx rsync /proc/[0-9]*/comm; fi
}

is_left_alone() {  # nothing is trained, and nobody came for its results
  local since
  if [ "$state" = ended ]; then since=$ended_at
  elif [ -n "$asked" ] && [ "$state" = none ]; then since=$asked_at
  else return 1; fi
  # A copy whose other end was cut off may hang here for ever.
  if [ $(( now - since )) -le "$fetch_limit" ] && is_fetched_from; then fetched_at=$now; fi
  [ "$since" -ge "$fetched_at" ] || since=$fetched_at
  [ $(( now - since )) -ge "$idle_limit" ]
}

is_job_gone() {  # Slurm: a process may outlive its job's steps, but has no machine without the job
  [ "${TUNEFARE_CLOUD:-}" = slurm ] && [ -n "${SLURM_JOB_ID:-}" ] || return 1
  [ $(( now - queue_at )) -ge 1500 ] || return 1
  queue_at=$now
  local answer
  answer="$(timeout 20 squeue -h -j "$SLURM_JOB_ID" -o %T 2>&1)" && [ -z "$answer" ] && return 0
  [[ "$answer" == *"Invalid job id"* ]]
}

watch() {
  trap '' TERM HUP INT
  local stat
  read -r stat < "/proc/$$/stat"; stat="${stat##*) }"; set -- $stat
  echo "$$ ${20}" > "$place/pid"
  up; now=$REPLY; armed_at=$now beat_at=$now progress_at=$now busy_at=$now fetched_at=0 queue_at=$now
  has_beaten=no state=none asked="" asked_at="" ended_at="" progress="" busy="" trainer="" last_beat=""
  killed="" killed_at=""
  # Kept: the folder may vanish, and the machine must have its end all the same.
  end_program="$(cat "$place/deadman_end.py" 2>/dev/null)"
  find_deadline
  cs "${TUNEFARE_WRAP_UP_S:-60}"; wrap_up=$REPLY
  cs "${TUNEFARE_SETUP_TIMEOUT_S:-1800}"; setup_limit=$REPLY
  cs "${TUNEFARE_IDLE_S:-600}"; idle_limit=$REPLY
  cs "${TUNEFARE_FETCH_MOST_S:-600}"; fetch_limit=$REPLY
  cs "${TUNEFARE_SILENCE_S:-300}"; beat_limit=$REPLY
  cs "${TUNEFARE_TICK_S:-5}"; tick=$REPLY
  hang_limit=""
  # The trainer's own watch comes first.
  if [ -n "${TUNEFARE_HANG_S:-}" ]; then cs "$TUNEFARE_HANG_S"; hang_limit=$(( REPLY + REPLY / 10 )); fi
  # What an earlier start left is no sign of life of this one.
  { read -r last_beat < "$run_dir/heartbeat$mark.json"; } 2>/dev/null
  last_beat="$(stat -c '%Y' "$run_dir/heartbeat$mark.json" 2>/dev/null) $last_beat"
  say "armed: $([ -z "$deadline" ] && echo "no cap" || echo "the cap is $(( (deadline - now) / 100 )) s away")"
  while true; do
    up; now=$REPLY
    look_at_trainer
    if is_over; then say "cap: reached"; kill_trainer; end_machine; fi
    if [ -z "$asked" ] || [ "$asked" != cap ]; then
      why_end
      if [ "$reason" = cap ] || { [ -n "$reason" ] && [ -z "$asked" ]; }; then ask_trainer; fi
    fi
    if [ -n "$asked" ] && [ "$asked" != cap ] && [ $(( now - asked_at )) -ge "$grace" ]; then kill_trainer; fi
    if lives_on; then say "the trainer lives $(( (now - killed_at) / 100 )) s after SIGKILL"; end_machine; fi
    if is_left_alone; then say "idle: nobody came for the results"; end_machine; fi
    # A user who removes a folder of their own machine wants no timer; on a rented one it is what keeps the cap.
    [ -d "$run_dir" ] || [ -z "${TUNEFARE_LOCAL_PYTHON:-}" ] || exit 0
    if is_job_gone; then say "the job is gone"; exit 0; fi
    pause
  done
}

pause() {  # a tick, or what is left until the next thing to do at the cap
  local rest=$tick until
  for until in ${deadline:+$(( deadline - wrap_up / 2 )) $deadline}; do
    if [ "$until" -gt "$now" ] && [ $(( until - now )) -lt "$rest" ]; then rest=$(( until - now )); fi
  done
  sleep "$(( rest / 100 )).$(printf '%02d' $(( rest % 100 )))"
}

end_machine() {  # tries each way again and again: while this runs, the machine is billed
  local wait=10
  [ -n "${TUNEFARE_LOCAL_PYTHON:-}" ] && end_local
  if [ -n "${TUNEFARE_MANAGED_LEAVE_S:-}" ]; then
    # The program has ended, so its job has: the controller takes the machine away, and does not replace it.
    say "leaving the machine to SkyPilot's controller for $TUNEFARE_MANAGED_LEAVE_S s"
    sleep "$TUNEFARE_MANAGED_LEAVE_S"
  fi
  while true; do
    try_ways
    sleep "${TUNEFARE_RETRY_S:-$wait}"
    [ "$wait" -ge 60 ] || wait=$(( wait * 2 ))
  done
}

end_local() {  # this machine is the user's: only the run's processes are ended
  say "ending the processes of the run"
  "$TUNEFARE_LOCAL_PYTHON" -P -m manager.launch.local_end "$run_dir" ||
    grep -lzxsF "TUNEFARE_LOCAL_RUN=$run_dir" /proc/[0-9]*/environ |
    sed 's#[^0-9]##g' | while read -r pid; do kill -KILL "$pid" 2>/dev/null; done
  exit 0
}

try_ways() {
  case "${TUNEFARE_CLOUD:-}" in
    slurm) if [ -n "${SLURM_JOB_ID:-}" ]; then try "scancel $SLURM_JOB_ID" scancel "$SLURM_JOB_ID"; return; fi ;;
    aws | gcp | kubernetes) with_each_python "$TUNEFARE_CLOUD" && return ;;
  esac
  # SkyPilot's library, with the rights that it gave the machine to take itself down; its agent may be dead.
  with_each_python skypilot && return
  # A pod or container has no power button, and on Slurm it would be the site's own node.
  [ "${TUNEFARE_CLOUD:-}" = slurm ] && return
  try "shutdown" sudo -n shutdown -h now || try "shutdown" shutdown -h now || try "poweroff" sudo -n poweroff -f
}

with_each_python() {  # until one could do it
  local python known="" program=("$place/deadman_end.py")
  [ -r "${program[0]}" ] || program=(-c "$end_program")
  { read -r known < "$HOME/.sky/python_path"; } 2>/dev/null
  for python in "$known" "$HOME/skypilot-runtime/bin/python" "$HOME"/.tunefare/venv-*/bin/python \
    "${TUNEFARE_PYTHON:-}" python3 python; do
    [ -n "$python" ] && command -v "$python" > /dev/null || continue
    try "$1 with $python" "$python" "${program[@]}" "$1" && return 0
  done
  return 1
}

try() {
  local what="$1" status
  shift
  timeout --kill-after=5 180 "$@"
  status=$?
  say "$what: $([ "$status" = 0 ] && echo "asked for" || echo "failed, exit status $status")"
  return "$status"
}

"${1:-arm}"
