"""A worker process that speaks the JSON lines of `manager.launch.sky_wire` and plays a written scenario, without sky.

`python sky_fake_worker.py FOLDER`: scenario.json maps an operation to a list of moves, one per call over all processes
(the last one repeats); calls.jsonl gets each call. Moves: {"result": {...}}, {"error": [kind, message]},
{"hang": true}, {"die": true}, and for `tail` {"lines": [...]} before any of them.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from manager.launch.sky_wire import Operation, Reply, serve

FOLDER = Path(sys.argv[1])
DEFAULTS = {
    "provider": {"existed": False, "provider": None},
    "down": {"existed": False},
    "states": {"states": []},
    "managed_left": {"instances": None},
}


def operation(name: str) -> Operation:
    def play(args: dict[str, Any], reply: Reply) -> dict[str, Any]:
        with (FOLDER / "calls.jsonl").open("a") as calls:
            calls.write(json.dumps([name, args]) + "\n")
        move = next_move(name)
        for line in move.get("lines", ()):
            reply.line(line)
        if move.get("hang"):
            time.sleep(60)
        if move.get("die"):
            os._exit(3)
        if "error" in move:
            kind, message = move["error"]
            raise type(kind, (Exception,), {"failover_history": [OSError(t) for t in move.get("history", ())]})(message)
        if name == "fetch":
            return copy(args["items"])
        result: dict[str, Any] = move["result"]
        return result

    return play


def next_move(name: str) -> dict[str, Any]:
    moves = json.loads((FOLDER / "scenario.json").read_text()).get(name, [{"result": DEFAULTS.get(name, {})}])
    counter = FOLDER / f"{name}.count"
    count = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(count + 1))
    move: dict[str, Any] = moves[min(count, len(moves) - 1)]
    return move


def copy(items: list[list[str]]) -> dict[str, Any]:
    """The machine's files are those in FOLDER/machine, found by their last name."""
    fetched: list[str] = []
    missing: list[str] = []
    for source, target in items:
        file = FOLDER / "machine" / Path(source).name
        if file.is_file():
            Path(target).write_bytes(file.read_bytes())
        (fetched if file.is_file() else missing).append(source)
    return {"fetched": fetched, "missing": missing}


NAMES = [
    "launch",
    "tail",
    "status",
    "run",
    "fetch",
    "cancel",
    "provider",
    "states",
    "down",
    "evidence",
    "clusters",
    "check",
]
MANAGED = ("mode", "launch", "job", "tail", "cancel", "left", "jobs")

if __name__ == "__main__":
    serve({name: operation(name) for name in (*NAMES, *(f"managed_{name}" for name in MANAGED))})
