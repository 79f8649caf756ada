#!/bin/sh
# Puts a Debian kernel with its few modules into a cache folder, for the guest machine of the tests. Nothing is
# installed: no boot menu changes, no hook runs. Quiet and quick when it is there; needs no root.
set -eu
folder=${LEASEHOLD_GUEST_KERNEL:-${XDG_CACHE_HOME:-$HOME/.cache}/leasehold-guest}
if [ -r "$folder/vmlinuz" ]; then exit 0; fi
if [ "$(uname -m)" != x86_64 ] || ! command -v apt-cache >/dev/null; then
    echo "guest kernel: only for x86-64 with Debian's packages" >&2
    exit 1
fi

package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
if [ -z "$package" ]; then
    echo "guest kernel: apt knows no linux-image-amd64; as root: apt-get update" >&2
    exit 1
fi
echo "guest kernel: fetching $package into $folder (70 MB, of which 15 are kept)"
mkdir -p "$folder"
draft=$(mktemp -d "$folder/new.XXXXXX")
trap 'rm -rf "$draft"' EXIT
chmod 755 "$draft"
cd "$draft"
apt-get download -qq "$package" 2>/dev/null
dpkg-deb --extract ./*.deb image

# In the order in which they are loaded. What a kernel has not, it has built in.
mkdir modules
for name in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci \
    netfs fscache 9pnet 9pnet_virtio 9p; do
    found=$(find image -name "$name.ko*" | head -n 1)
    case $found in
        '') continue ;;
        *.xz) xz -dc "$found" > "modules/$name.ko" ;;
        *.zst) zstd -dqc "$found" > "modules/$name.ko" ;;
        *) cp "$found" "modules/$name.ko" ;;
    esac
    echo "$name" >> modules/order
done
rm -rf "$folder/modules"
mv modules "$folder/modules"
mv image/boot/vmlinuz-* "$folder/vmlinuz.new"
mv "$folder/vmlinuz.new" "$folder/vmlinuz"  # last: it says that all is there
