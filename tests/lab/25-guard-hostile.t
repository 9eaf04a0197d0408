#!/bin/bash
# skein-guard against a client of user skein that means harm, and its system call filter (guard_hostile.c).
# limit: 60
. "$(dirname "$0")/lib.sh"
. "$scenarios/room.sh"
trap 'cgroup_destroy "$lab_name"; rm -rf "$work"' EXIT

room /build/tests/lab/guard_hostile /build/tests/lab/guard-fake
