#!/bin/sh
# A node that works on candidates: as many at once as it has CPUs, if each takes one.
: "${PARETRACK_RAY_ADDRESS:?the head of the Ray cluster, as ray-head:6379}"
exec ray start --address="$PARETRACK_RAY_ADDRESS" --block "$@"
