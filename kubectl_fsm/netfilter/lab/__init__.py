"""What runs inside a lab: the private namespaces, and the connections in them. `kernel.py` is its door."""
