"""The command line: parse, call the service, print."""

import gc

# Collections while modules load and a plan is made find nothing to free and take a tenth of a plan's time; before the
# imports of every command, so here. `run` watches for hours, so they are made seldom, not never.
gc.set_threshold(50_000, 20, 100)
