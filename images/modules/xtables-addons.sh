# Further iptables matches from Debian's dkms package. The pattern fits every *-dkms package, and a module from source
# is as good: what lies in $OUT reaches the image.
apt-get -q install -y --no-install-recommends xtables-addons-dkms
dkms autoinstall -k "$KERNEL_VERSION"
cp "/lib/modules/$KERNEL_VERSION"/updates/dkms/*.ko "$OUT/"
