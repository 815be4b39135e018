"""Options that verbs share. docopt reads these texts, so they are the grammar as well as the help."""

_GLOBAL = """
Global options:
  -n, --namespace=NAMESPACE        namespace of the targets
  -A, --all-namespaces             targets in all namespaces
  -N, --fsm-namespace=NAMESPACE    namespace of the mesh's control plane, where the cluster has several meshes
  -o, --output=FORMAT              {formats}
      --context=CONTEXT            context of the kubeconfig
      --cluster=CLUSTER            cluster of the kubeconfig
      --user=USER                  user of the kubeconfig
      --kubeconfig=FILE            path of the kubeconfig
      --as=USERNAME                user to impersonate
      --as-group=GROUP             group to impersonate (repeatable)
      --request-timeout=TIME       how long the API server may be silent, such as 5s or 1m (0: no limit)
      --no-color                   no colours on a terminal (as NO_COLOR)
  -v, --v=LEVEL                    8 and above show requests, and the traceback of an error
  -h, --help                       this help
"""


def general(*formats: str) -> str:
    """The options that every verb has, with the output formats of this one."""
    return _GLOBAL.format(
        formats=f"output format: {', '.join(formats)}" if formats else "output format, as the verb has it"
    )


FILES = """
  -f, --filename=FILE              read manifests (a file, a folder, - for stdin) instead of a cluster (repeatable)
      --meshconfig=FILE            with -f: the MeshConfig that counts, whatever the other files hold
"""

SCOPE = """
Scope options:
      --global                     the whole mesh: its MeshConfig (the default)
      --pod=POD                    the workload that owns this pod (repeatable)
      --workload=KIND/NAME         this workload, such as deploy/web (repeatable)
  -l, --selector=SELECTOR          the workloads that own the pods with these labels
      --all                        all workloads of the namespace given with -n
"""


EDITING = """
Editing options:
      --remove                     take the values out of the list
      --replace                    make the list hold just these values
      --clear                      make the list empty
      --dry-run=client|server|none  client: check, but write nothing; server: let the API server check too;
                                   none: write (alone: client)
      --diff                       show the change as a diff
  -y, --yes                        do not ask before more than one workload is rolled, or much traffic leaves the mesh
      --force                      edit what Argo CD, Flux or Helm would take back
      --restart                    then roll what runs outdated rules, wait, and verify the new pods
      --timeout=TIME               how long one rollout may take, such as 90s (0: no limit) [default: 10m]
      --local                      edit the manifests given with -f and print them
  -f, --filename=FILE              manifests for --local: a file, a folder, - for stdin (repeatable)
"""
