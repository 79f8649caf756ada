#!/bin/sh
# The init of a User Mode Linux guest whose root is the host's, read-only: a cgroup v2 with cpu and io to test
# brakes and limits in. What the tests say goes to the console; the last line is `RC=<their exit code>`.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1 HOME=/tmp LEASEHOLD_UML=1
mount -t proc proc /proc
mount -t tmpfs t /tmp
mount -t tmpfs t /run
mount -t sysfs s /sys
mount -t cgroup2 c /sys/fs/cgroup
for each in cpu memory io; do echo "+$each" > /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null; done
cd "$LEASEHOLD_ROOT" || echo "no $LEASEHOLD_ROOT"
"$LEASEHOLD_PYTHON" -m pytest -q -p no:cacheprovider -p no:xdist -o addopts= tests/contract/test_brakes.py \
    tests/contract/test_limits.py -k "TestPlaces or TestSignals or limits" 2>&1
echo "RC=$?"
sync
echo o > /proc/sysrq-trigger
sleep 1
halt -f
