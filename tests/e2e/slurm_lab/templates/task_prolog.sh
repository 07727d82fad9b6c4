#!/bin/bash
# SkyPilot gives every cluster a private HOME and looks there for .local/bin/uv before it downloads one.
for home in "$job_home"/.sky_clusters/*/; do
  if [ -d "$$home" ] && [ ! -e "$$home.local/bin/uv" ]; then
    mkdir -p "$$home.local/bin" && ln -sfn "$site/bin/uv" "$$home.local/bin/uv"
  fi
done
exit 0
