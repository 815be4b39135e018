package main

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// bootstrapVolume holds the sidecar's first configuration. A pod that has it counts as injected.
const bootstrapVolume = "sidecar-bootstrap-config-volume"

// object is a part of a resource, as JSON has it.
type object = map[string]any

// named is an element of a list, of which no more than its name counts here.
type named struct {
	Name string `json:"name"`
}

// metadata is what counts here of a resource's metadata.
type metadata struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// pod is what counts here of a pod.
type pod struct {
	Metadata metadata `json:"metadata"`
	Spec     struct {
		HostNetwork    bool    `json:"hostNetwork"`
		Volumes        []named `json:"volumes"`
		InitContainers []named `json:"initContainers"`
		Containers     []named `json:"containers"`
	} `json:"spec"`
}

// operation is one step of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// inject is the patch that brings pod into the mesh; none where it is not to be brought in. An error refuses the pod.
func inject(api *apiServer, mesh mesh, config meshConfigSpec, pod *pod, namespace string) ([]operation, error) {
	if slices.Contains([]string{"kube-system", "kube-public", mesh.namespace}, namespace) {
		return nil, nil
	}
	var owner struct{ Metadata metadata }
	if err := api.get("/api/v1/namespaces/"+namespace, &owner); err != nil {
		return nil, err
	}
	if !joins(owner.Metadata.Labels, mesh) || pod.Spec.HostNetwork || pod.injected() {
		return nil, nil
	}
	wanted, err := enabled(pod.Metadata, owner.Metadata)
	if err != nil || !wanted {
		return nil, err
	}
	if config.Traffic.InterceptionMode == "NodeLevel" {
		return []operation{label(pod)}, nil
	}
	if owner.Metadata.Annotations[prefix+"metrics"] != "" {
		if _, _, err := toggle(owner.Metadata, prefix+"metrics"); err != nil {
			return nil, err
		}
	}
	return patch(config, pod)
}

// joins tells whether a namespace with these labels is in the mesh.
func joins(labels map[string]string, mesh mesh) bool {
	_, ignored := labels[prefix+"ignore"]
	_, controls := labels["control-plane"]
	return labels[prefix+"monitored-by"] == mesh.name && !ignored && !controls
}

// injected tells whether the pod went through an injector before.
func (p *pod) injected() bool {
	return slices.ContainsFunc(p.Spec.Volumes, func(volume named) bool { return volume.Name == bootstrapVolume })
}

// enabled tells what the annotations of a pod, or else of its namespace, say about injection. Both have to be right.
func enabled(pod, namespace metadata) (bool, error) {
	const key = prefix + "sidecar-injection"
	own, said, err := toggle(pod, key)
	if err != nil {
		return false, err
	}
	inherited, _, err := toggle(namespace, key)
	if err != nil {
		return false, err
	}
	if said {
		return own, nil
	}
	return inherited, nil
}

// toggle is an annotation that switches something on or off, and whether it is there.
func toggle(metadata metadata, key string) (on, said bool, err error) {
	value, said := metadata.Annotations[key]
	if !said {
		return false, false, nil
	}
	switch strings.ToLower(value) {
	case "enabled", "yes", "true":
		return true, true, nil
	case "disabled", "no", "false":
		return false, true, nil
	}
	return false, true, fmt.Errorf("Invalid annotation value for key %q: %s", key, value)
}

// label marks a pod as one of the mesh, which is all that it gets where its node intercepts.
func label(pod *pod) operation {
	labels := maps.Clone(pod.Metadata.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels["fsm-proxy-uuid"] = newUUID()
	return operation{"add", "/metadata/labels", labels}
}

// patch appends what a pod of the mesh has. Annotations and lists count only where pods are intercepted one by one.
func patch(config meshConfigSpec, pod *pod) ([]operation, error) {
	operations := []operation{label(pod)}
	if config.Traffic.InterceptionMode == "PodLevel" {
		wanted, err := effectiveLists(pod.Metadata.Annotations, config.Traffic)
		if err != nil {
			return nil, err
		}
		added := initContainer(script(wanted, config.Sidecar.LocalProxyMode))
		operations = append(operations, addLast("/spec/initContainers", pod.Spec.InitContainers, added))
	}
	return append(operations,
		addLast("/spec/containers", pod.Spec.Containers, sidecar()),
		addLast("/spec/volumes", pod.Spec.Volumes, object{"name": bootstrapVolume, "emptyDir": object{}}),
	), nil
}

// addLast appends an element to the list at path, which may not be there yet.
func addLast(path string, list []named, element object) operation {
	if len(list) == 0 {
		return operation{"add", path, []object{element}}
	}
	return operation{"add", path + "/-", element}
}

// initContainer programs the pod's rules before anything else of the mesh runs.
func initContainer(script string) object {
	return object{
		"name":    "fsm-init",
		"image":   "example.com/sidecar-init:1",
		"command": []string{"/bin/sh"},
		"args":    []string{"-c", script},
		"env": []object{{
			"name":      "POD_IP",
			"valueFrom": object{"fieldRef": object{"fieldPath": "status.podIP"}},
		}},
		"securityContext": object{
			"capabilities": object{"add": []string{"NET_ADMIN"}},
			"runAsUser":    0,
		},
	}
}

// sidecar is who takes the pod's connections.
func sidecar() object {
	return object{
		"name":            "sidecar",
		"image":           "example.com/sidecar:1",
		"securityContext": object{"runAsUser": sidecarUser},
	}
}

// newUUID is a random UUID, as version 4 has it.
func newUUID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
