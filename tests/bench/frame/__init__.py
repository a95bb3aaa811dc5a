"""What all benches share: namespaces, servers, turns, tables."""
