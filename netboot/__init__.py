"""The netboot appliance: one daemon that boots diskless machines and joins them to their cluster.

Words, one for each thing
    Client       what a machine says on the wire                              model.machine
    Node         a declared machine (Kubernetes' own is the "Node object")   model.inventory
    Assignment   which cluster and pool a machine belongs to, and why         model.inventory
    BootPlan     what a machine will run                                      boot.plan
    NBP          the first-stage boot program                                 boot.firmware
    Image        a named system; its Generations are immutable builds         model.image
    Lease        one address in the hands of one machine                      model.lease
    JoinMaterial what a node needs to join, made for it and this boot alone   join
    Boot         one boot of one machine, from its first DISCOVER to Ready    model.boot
    Session      what a claimed boot may still ask for                        boot.session
    Placement    what an operator assigned at run time, over the file         model.placement
    Operation    a change that takes minutes, on disk at each of its steps    model.operation

Rooms, from the roof down; an arrow of imports only descends
    cli/         verbs only, one file per noun
    app          the composition root: Config -> variants -> servers; startup: what needs root
    clusters nodecare  its half that talks to Kubernetes
    observe      the one of shadow mode: the same DHCP server, which answers nobody
    dhcp.server, tftp.{server,scripts}, web/, fleet/  shells: they wait and talk
    probe/       a simulated client of any DHCP server
    store/ join/ cluster/ power/ proc/           doors (`__init__`) with their variants beside them
    config/ events/ net datagrams alive askers catalog tree cold  what shells and variants stand on
    shadow/ link                                 somebody else's DHCP: captures, the wire, differences
    dhcp.* and tftp.{wire,transfer}, boot/       cores: pure, `now` is an argument
    model/       the nouns
    errors       the exception tree

Where to make a change
    a DHCP option            a row of dhcp/options.py, a type of value in dhcp/option_values.py
    whose machine it is      Inventory.match; dhcp/identity.py for two that say they are one
    an architecture          a row of boot/firmware.py
    a quirk of firmware      a row of boot/quirks.py, and one of tests/docs/field.py
    a key of the file        config/, its checks in config/checks/, and a row of docs/configuration.md
    what is remembered       a Protocol of store/, a file and a schema step in store/sqlite/, store/memory
    a path of the boot port  a route of web/boot/, and a file beside it
    what a node is given     boot/node_config.py and images/agent/
    a join method            a file in join/, an entry in clusters
    a right in a cluster     cluster/rights.py and a manifest of config/kubernetes/
    a step's likely cause    a row of boot/stall.py
    a step of a reassignment a function of fleet/reassign.py and its name in model/operation.py
    a simulated client       a row of probe/clients.py
"""

__version__ = "0.1.0"
