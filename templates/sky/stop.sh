# Asks the training program to save a checkpoint and stop; prints what it did.
pid_file="$HOME/tunefare-run/$TUNEFARE_RUN_ID/pid"
if ! read -r pid started < "$pid_file" 2>/dev/null; then
  echo not-started
elif [ "$(cut -d ' ' -f 22 "/proc/$pid/stat" 2>/dev/null)" != "$started" ]; then
  echo ended
else
  # `timeout` would hand the signal on, and end the program two minutes later, saving or not.
  if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = timeout ]; then
    read -r child < "/proc/$pid/task/$pid/children" || true
  fi
  if kill -TERM "${child:-$pid}"; then echo asked; else echo ended; fi
fi
