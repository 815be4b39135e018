"""How a release is made: the bundle of this machine, and the manifest for krew."""
