#!/bin/sh
# The first program of a guest machine whose root is the host's, read-only (see guest.py): mounts what a machine
# has, with cgroup v2 alone, runs $GUEST_EXCHANGE/command, and writes its output and exit code beside it.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs -o mode=755 run /run
(sleep "$GUEST_SECONDS"; echo o > /proc/sysrq-trigger) &

for each in "fd /proc/self/fd" "stdin /proc/self/fd/0" "stdout /proc/self/fd/1" "stderr /proc/self/fd/2"; do
    [ -e "/dev/${each%% *}" ] || ln -s "${each#* }" "/dev/${each%% *}"
done
mkdir -p /dev/shm /dev/pts 2>/dev/null
mount -t tmpfs shm /dev/shm
mount -t devpts -o ptmxmode=666 pts /dev/pts

# What is shown stays visible where it lies, also below /tmp, which is the guest's own.
mkdir /run/shown
number=0
IFS=:
for each in $GUEST_SHOWN; do
    number=$((number + 1))
    mkdir "/run/shown/$number"
    mount --bind "$each" "/run/shown/$number"
done
mount -t tmpfs -o mode=1777 tmp /tmp
number=0
for each in $GUEST_SHOWN; do
    number=$((number + 1))
    mkdir -p "$each"
    mount --bind "/run/shown/$number" "$each"
done
unset IFS

mkdir /run/exchange
if [ "$GUEST_WAY" = uml ]; then
    mount -t hostfs -o "$GUEST_EXCHANGE" none /run/exchange
else
    mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize=262144 exchange /run/exchange
fi

mount -t cgroup2 cgroup2 /sys/fs/cgroup
for each in cpu io memory pids; do echo "+$each" > /sys/fs/cgroup/cgroup.subtree_control; done
ip link set lo up 2>/dev/null || ifconfig lo up 2>/dev/null || busybox ip link set lo up

sh /run/exchange/command > /run/exchange/output 2>&1 < /dev/null
echo "$?" > /run/exchange/code
sync
echo o > /proc/sysrq-trigger
sleep 60
