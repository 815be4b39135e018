"""Manifests as `helm template` and `kustomize build` print them, piped in, and the folders that they are made from."""

import io

import pytest

from kubectl_fsm.cluster import manifests
from kubectl_fsm.cluster.interface import DEPLOYMENTS, NAMESPACES, PODS, Resource
from kubectl_fsm.errors import ManifestError

WIDGETS = Resource("example.com", "v1", "Widget", "widgets", True, ("wd",))

HELM = """\
---
# Source: shop/charts/redis/templates/networkpolicy.yaml
---
# Source: shop/templates/serviceaccount.yaml
apiVersion: v1
kind: ServiceAccount
metadata:
  name: shop-web
  namespace: shop
  labels:
    helm.sh/chart: shop-0.3.1
    app.kubernetes.io/version: "1.16.0"
    app.kubernetes.io/managed-by: Helm
automountServiceAccountToken: true
---
# Source: shop/crds/widgets.yaml
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  annotations:
    controller-gen.kubebuilder.io/version: v0.16.1
  name: widgets.example.com
spec:
  group: example.com
  names: {kind: Widget, listKind: WidgetList, plural: widgets, shortNames: [wd], singular: widget}
  scope: Namespaced
  versions:
    - name: v1
      schema:
        openAPIV3Schema:
          description: |-
            Widget is what the shop sells.

            ---
            More in the handbook.
          properties:
            spec:
              properties:
                "on": {type: boolean, default: false}
                size: {anyOf: [{type: integer}, {type: string}], x-kubernetes-int-or-string: true}
              type: object
          type: object
      served: true
      storage: true
---
# Source: shop/templates/service.yaml
apiVersion: v1
kind: Service
metadata:
  name: shop-web
  namespace: shop
spec:
  type: ClusterIP
  ports:
    - port: 80
      targetPort: http
      protocol: TCP
      name: http
  selector:
    app.kubernetes.io/name: web
---
# Source: shop/templates/deployment.yaml
# Copyright of the chart's authors.
#

apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop-web
  namespace: shop
spec:
  selector:
    matchLabels:
      app.kubernetes.io/name: web
  template:
    metadata:
      annotations:
        checksum/config: 8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4
        flomesh.io/outbound-port-exclusion-list: "6379"
      labels:
        app.kubernetes.io/name: web
    spec:
      securityContext:
        {}
      containers:
        - name: web
          securityContext:
            {}
          image: "web:1.16.0"
          command: ['sh', '-c', "exec web --listen=:8080"]
          env:
            []
          ports:
            - name: http
              containerPort: 8080
              protocol: TCP
---
# Source: shop/templates/autoscaler.yaml
# {{- if .Values.autoscaling.enabled }}: not enabled
---
# Source: shop/templates/widget.yaml

apiVersion: example.com/v1
kind: Widget
metadata:
  name: "blue"
spec:
  size: 3
---
# Source: shop/templates/tests/test-connection.yaml
apiVersion: v1
kind: Pod
metadata:
  name: "shop-test-connection"
  annotations:
    "helm.sh/hook": test
    "helm.sh/hook-delete-policy": before-hook-creation,hook-succeeded
spec:
  containers:
    - name: wget
      image: busybox
      args: ['shop-web:80']
  restartPolicy: Never
---
# Source: shop/templates/migrate.yaml
apiVersion: batch/v1
kind: Job
metadata:
  generateName: shop-migrate-
  annotations:
    "helm.sh/hook": pre-install,pre-upgrade
    "helm.sh/hook-weight": "-5"
spec:
  template:
    spec:
      containers: [{name: migrate, image: "web:1.16.0"}]
      restartPolicy: Never

"""
HELM_NAMES = {
    "ServiceAccount": ["shop-web"],
    "CustomResourceDefinition": ["widgets.example.com"],
    "Service": ["shop-web"],
    "Deployment": ["shop-web"],
    "Widget": ["blue"],
    "Pod": ["shop-test-connection"],
    "Job": [None],
}

KUSTOMIZE = """\
apiVersion: v1
kind: Namespace
metadata:
  labels:
    flomesh.io/monitored-by: fsm
  name: shop
---
apiVersion: v1
data:
  script.sh: |
    #!/bin/sh
    cat <<END
    ---
    kind: nothing
    END
kind: ConfigMap
metadata:
  name: web-7g2bk5m9tc
  namespace: shop
---
apiVersion: apps/v1
kind: Deployment
metadata:
  annotations:
    config.kubernetes.io/origin: |
      path: ../base/web.yaml
    internal.config.kubernetes.io/generatorBehavior: unspecified
  name: web
  namespace: shop
spec:
  template:
    metadata:
      annotations:
        flomesh.io/outbound-port-exclusion-list: "6379"
    spec:
      containers:
      - image: web:1.0
        name: web
        ports:
        - containerPort: 8080
"""


def read(text):
    return manifests.read(["-"], None, io.BytesIO(text.encode()))


def names(found):
    return {resource.kind: [obj["metadata"].get("name") for obj in found.list(resource)] for resource in found.kinds()}


def test_a_chart():
    found = read(HELM)
    assert names(found) == HELM_NAMES
    assert found.resource_named("wd") == WIDGETS
    assert found.get(WIDGETS, "blue", "default")["spec"] == {"size": 3}
    assert found.get(PODS, "shop-test-connection", "default")["metadata"]["annotations"]["helm.sh/hook"] == "test"
    web = found.get(DEPLOYMENTS, "shop-web", "shop")
    line = HELM.splitlines()[found.position(web, "spec", "template", "metadata", "annotations").line - 1]
    assert line == "      annotations:"


@pytest.mark.parametrize(
    "rendered",
    [
        HELM.replace("\n", "\r\n"),
        HELM.replace("---\n#", "--- #"),
        HELM.replace("---\n#", "---  \t\n\n#"),
        HELM.replace("\n---\n#", "\n...\n---\n---\n#"),
        HELM.removeprefix("---\n").rstrip("\n"),
        f"{HELM}---\n# the end\n---\n---",
        HELM.replace("---\n#", "---\n\ufeff#"),
    ],
    ids=["CRLF", "comment behind", "space behind", "ends", "bare", "nothing at the end", "byte order marks"],
)
def test_however_documents_are_set_apart(rendered):
    assert names(read(rendered)) == HELM_NAMES


def test_a_kustomization():
    found = read(KUSTOMIZE)
    assert names(found) == {"Namespace": ["shop"], "ConfigMap": ["web-7g2bk5m9tc"], "Deployment": ["web"]}
    assert found.get(NAMESPACES, "shop")["metadata"]["labels"] == {"flomesh.io/monitored-by": "fsm"}


def test_both_one_after_the_other_and_as_a_list():
    both = names(read(f"{KUSTOMIZE}---\n{HELM}"))
    assert both == {**names(read(KUSTOMIZE)), **HELM_NAMES, "Deployment": ["web", "shop-web"]}
    documents = [part.strip("\n") for part in KUSTOMIZE.split("\n---\n")]
    items = "".join("- " + "\n  ".join(part.splitlines()) + "\n" for part in documents)
    listed = read(f'apiVersion: v1\nitems:\n{items}kind: List\nmetadata:\n  resourceVersion: ""\n')
    assert names(listed) == names(read(KUSTOMIZE))
    assert listed.position(listed.get(DEPLOYMENTS, "web", "shop"))[1:] == (21, 3)


def test_the_folder_of_an_overlay(tmp_path):
    (tmp_path / "base").mkdir()
    kustomization = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- web.yaml\n"
    (tmp_path / "base" / "kustomization.yaml").write_text(kustomization)
    (tmp_path / "base" / "web.yaml").write_text(KUSTOMIZE)
    (tmp_path / "kustomization.yaml").write_text("resources: [base]\nimages: [{name: web, newTag: '2.0'}]\n")
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: shop\nversion: 0.3.1\n")
    (tmp_path / "values.yaml").write_text("image: {tag: 1.16.0}\nenv: []\n")
    found = manifests.read([str(tmp_path)], None, io.BytesIO())
    assert names(found) == names(read(KUSTOMIZE))


def test_a_release_with_no_objects_is_said_to_have_none():
    with pytest.raises(ManifestError, match="-: no Kubernetes objects"):
        read("---\n# Source: shop/templates/service.yaml\n---\n# Source: shop/templates/deployment.yaml\n\n")
