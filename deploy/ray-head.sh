#!/bin/sh
# The head of the Ray cluster: it keeps the cluster's state and works on nothing itself.
# Ray's dashboard is not started: it can run any code.
exec ray start --head --port="${RAY_PORT:-6379}" --num-cpus="${RAY_HEAD_CPUS:-0}" \
  --include-dashboard=false --disable-usage-stats --block "$@"
