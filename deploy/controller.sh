#!/bin/sh
# A controller, and beside it a node of the Ray cluster without CPUs: whoever gives work to a
# cluster has to be on one of its nodes. Options go to `paretrack controller`.
set -u
: "${PARETRACK_RAY_ADDRESS:?the head of the Ray cluster, as ray-head:6379}"

ray start --address="$PARETRACK_RAY_ADDRESS" --num-cpus=0 --object-store-memory=100000000 --block >&2 &
node=$!
paretrack controller --pool ray "$@" &
controller=$!
# The controller is asked to end first: it hands its jobs over while it still has a cluster.
trap 'kill -TERM "$controller" 2>/dev/null' TERM INT
# A wait is cut short by the signal itself; the second one waits for the end.
wait "$controller"
code=$?
if kill -0 "$controller" 2>/dev/null; then
  wait "$controller"
  code=$?
fi
kill -TERM "$node" 2>/dev/null
wait "$node"
exit "$code"
