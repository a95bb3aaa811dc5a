# DRBD 9 from Debian's dkms package: the kernel's own is version 8. The pattern fits every *-dkms package.
apt-get -q install -y --no-install-recommends drbd-dkms
dkms autoinstall -k "$KERNEL_VERSION"
cp "/lib/modules/$KERNEL_VERSION"/updates/dkms/*.ko "$OUT/"
