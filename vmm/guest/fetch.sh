#!/bin/sh
# SPDX-License-Identifier: MIT
# Debian's Linux kernel for clouds and its static busybox, as they come: downloaded by apt-get and unpacked, not
# installed.
#
#   vmm/guest/fetch.sh DIR     makes DIR/vmlinuz, DIR/busybox, DIR/modules/*.ko and DIR/versions
set -eu

dir=$1
log=$dir/fetch.log
mkdir -p "$dir"
: >"$log"

fail() {
    tail -n 5 "$log" | sed 's/^/    /' >&2
    echo "guest: $*" >&2
    exit 1
}

for tool in apt-get apt-cache dpkg-deb; do
    command -v "$tool" >/dev/null ||
        fail "no $tool here: give a kernel and an initial RAM disk of your own by GUEST_KERNEL= and GUEST_INITRD="
done

# The meta package names the kernel of the day.
kernel_package() {
    apt-cache depends linux-image-cloud-amd64 2>>"$log" | sed -n 's/^ *Depends: *\(linux-image-[0-9].*-cloud-amd64\)$/\1/p' | head -n 1
}

update_lists() {
    root=
    [ "$(id -u)" -eq 0 ] || root=sudo
    if [ -n "$root" ] && ! command -v sudo >/dev/null; then
        fail "apt's package lists are missing: please run, as root, apt-get update"
    fi
    echo "  APT     update"
    $root apt-get update -qq >>"$log" 2>&1 || fail "apt-get update failed"
}

download() {
    rm -rf "$dir/packages"
    mkdir -p "$dir/packages"
    # root's apt-get downloads as another user where it can
    ! id _apt >/dev/null 2>&1 || chown _apt "$dir/packages" 2>/dev/null || :
    (cd "$dir/packages" && apt-get -o APT::Sandbox::User=root download -q "$@") >>"$log" 2>&1
}

kernel=$(kernel_package)
if [ -z "$kernel" ] || ! apt-cache show busybox-static >/dev/null 2>&1; then
    update_lists
    kernel=$(kernel_package)
    [ -n "$kernel" ] || fail "no package linux-image-cloud-amd64 for this system"
fi

echo "  APT     $kernel busybox-static"
download "$kernel" busybox-static || {
    update_lists # the lists name versions that are gone
    kernel=$(kernel_package)
    download "$kernel" busybox-static
} || fail "apt-get cannot download $kernel and busybox-static"

echo "  UNPACK  $dir"
rm -rf "$dir/root" "$dir/modules"
for package in "$dir"/packages/*.deb; do
    dpkg-deb -x "$package" "$dir/root" >>"$log" 2>&1 || fail "cannot unpack $package"
done
mkdir -p "$dir/modules"
modules='pvpanic pvpanic-mmio hv_vmbus failover net_failover virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_net'
for module in $modules; do
    find "$dir/root" -name "$module.ko" -exec cp {} "$dir/modules/" \;
done
cp "$dir/root/bin/busybox" "$dir/busybox"
for package in "$dir"/packages/*.deb; do
    dpkg-deb -f "$package" Package Version | sed "s/^[^:]*: //" | paste -s -d " "
done >"$dir/versions"
cp "$dir"/root/boot/vmlinuz-* "$dir/vmlinuz.tmp"
rm -rf "$dir/root" "$dir/packages"
mv "$dir/vmlinuz.tmp" "$dir/vmlinuz" # last: make takes it as the sign that all is there
