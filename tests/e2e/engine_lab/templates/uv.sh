#!/bin/sh
# SkyPilot asks uv for Python 3.10 by number and accepts any below 3.12; this machine has Debian's 3.11.
previous=
for argument do
  shift
  if [ "$$previous" = --python ] && [ "$$argument" = 3.10 ]; then argument=$python; fi
  set -- "$$@" "$$argument"
  previous=$$argument
done
exec "$uv" "$$@"
