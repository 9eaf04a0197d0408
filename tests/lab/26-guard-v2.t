#!/bin/bash
# As 25-guard, where there is nothing but cgroup v2.
# limit: 240
. "$(dirname "$0")/lib.sh"
. "$scenarios/room.sh"
trap 'cgroup_destroy "$lab_name"; rm -rf "$work"' EXIT

room_cgroups=v2
room /build/tests/lab/guard_process /build/tests/lab/guard-fake
