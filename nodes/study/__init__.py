"""One study at one node, from the gate to the egress."""
