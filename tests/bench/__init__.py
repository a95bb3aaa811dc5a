"""What `scripts/bench` measures: us beside our peers, in one run, on machines whose speed nobody can trust.

Each sibling file is a bench: `scripts/bench NAME` imports `tests.bench.NAME`, calls `arguments(parser)`,
then `run(options)`, which prints its tables and returns the verdicts on its floors. To add one, write such
a file of: `frame.link.Link` (two namespaces and a veth), `frame.sites` (our operator's file, our machines),
`frame.peers` (dnsmasq ...), `frame.turns.alternate` (fresh servers in turn, each a `frame.server.Server`
with its CPU and memory), `frame.build.compiled` (a load generator of `load/*.c`), `frame.report` (medians,
tables, floors). With `options.quick` it only has to show that it works; no test asserts a figure.
"""
