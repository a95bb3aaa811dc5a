"""Answer HTTP: the boot port for nodes, the API and its page for operators."""
