"""Where Kubernetes objects come from and go to: an API server (`kube`) or files (`manifests`), behind one Protocol."""
