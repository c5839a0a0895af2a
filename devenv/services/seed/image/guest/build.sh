#!/bin/sh
# Builds the guest image, in the first stage of the Dockerfile.
#
#   build.sh kernel               download and unpack Debian's cloud kernel
#   build.sh image ROOTFS QCOW2   make the bootable image from it and the folder ROOTFS
set -eu

kernel=/build/kernel
# Roots of the module list; what they depend on is added by modprobe.
modules="virtio_net virtio_blk virtio_rng button evdev"
# loglevel=2 after quiet: only a panic may write between the guest's own lines. The
# rest is boot time under emulation: no self-tests, no search for a mouse, no address
# randomisation and no mitigations, which protect nothing in a guest that runs only its
# own code.
cmdline="console=ttyS0 quiet loglevel=2 cryptomgr.notests rcupdate.rcu_expedited=1"
cmdline="$cmdline i8042.noaux nokaslr mitigations=off"

fetch_kernel() {
    mkdir -p "$kernel"
    cd /build
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: //p')
    apt-get download -qq "$package"
    dpkg-deb -x "$package"_*.deb "$kernel"
    depmod -b "$kernel/usr" "$(kernel_version)"
}

kernel_version() {
    ls "$kernel/usr/lib/modules"
}

# Unpacks the modules into ROOT/lib/modules, and lists them there in load order.
install_modules() {
    mkdir -p "$1/lib/modules"
    modprobe -d "$kernel/usr" -S "$(kernel_version)" -a --show-depends $modules \
        | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >/build/order
    while read -r path; do
        name=$(basename "$path" .xz)
        xz -dc "$path" >"$1/lib/modules/$name"
        echo "$name" >>"$1/lib/modules/order"
    done </build/order
}

make_initramfs() {
    root=/build/root
    rm -rf "$root"
    mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/tmp"
    cp -R "$1/." "$root/"
    # Modes are set here: they do not survive every way of packaging the sources.
    find "$root/guest" "$root/etc/acpi" -type f -exec chmod 755 {} +
    install -m 755 "$(command -v busybox)" "$root/bin/busybox"
    # Debian's busybox shell runs its applets without links; only these are executed by path.
    for applet in init sh udhcpc acpid nc reboot run-parts; do
        ln -s busybox "$root/bin/$applet"
    done
    ln -s bin/init "$root/init"
    install_modules "$root"
    (cd "$root" && find . | sort | cpio --quiet -o -H newc -R 0:0) | gzip -9n >/build/initrd
}

# One bootable partition with a FAT file system, 1 MiB into the disk. A file system without a
# partition table boots as well, but nova refuses it: its image inspection takes the boot code
# for a broken table.
make_image() {
    image=/build/guest.img
    printf '%s\n' 'DEFAULT guest' 'PROMPT 0' 'LABEL guest' '  KERNEL vmlinuz' \
        '  INITRD initrd' "  APPEND $cmdline" >/build/syslinux.cfg
    bytes=$(cat "$kernel"/boot/vmlinuz-* /build/initrd | wc -c)
    mebibytes=$((bytes / 1048576 + 2))
    rm -f "$image"
    truncate -s "$((mebibytes + 1))M" "$image"
    dd if=/usr/lib/syslinux/mbr/mbr.bin of="$image" conv=notrunc status=none
    # Start and size in sectors, a FAT16 partition (e: with LBA addresses), marked as bootable.
    echo "2048 $((mebibytes * 2048)) e *" | sfdisk --quiet --label dos "$image"
    # 64 heads and 32 sectors make a cylinder of 1 MiB; -H: what comes before the partition.
    partition="$image@@1M"
    mformat -i "$partition" -h 64 -s 32 -t "$mebibytes" -H 2048 -v GUEST ::
    syslinux --offset 1048576 --install "$image"
    mcopy -i "$partition" "$kernel"/boot/vmlinuz-* ::vmlinuz
    mcopy -i "$partition" /build/initrd /build/syslinux.cfg ::
    qemu-img convert -f raw -O qcow2 "$image" "$1"
    ls -l /build/initrd "$1"
}

case $1 in
kernel) fetch_kernel ;;
image)
    make_initramfs "$2"
    make_image "$3"
    ;;
esac
