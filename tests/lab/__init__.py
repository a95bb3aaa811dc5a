"""Virtual machines that really boot, in network namespaces that the test itself made.

    with Lab() as lab, KubeApi..., Appliance(...) as appliance, Machine(...) as machine: ...

namespace  a namespace with a bridge, taps and everything that was started in it
appliance  `netboot serve` in it, with its files, its log and its API
machine    a virtual machine without a disk, and what it writes on its serial line
site       the three together, as most tests want them
images     the boot images, built once and kept
"""
