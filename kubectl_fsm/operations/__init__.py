"""What several verbs share and needs a cluster."""
