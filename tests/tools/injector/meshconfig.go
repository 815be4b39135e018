package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"sync"
	"sync/atomic"
	"time"
)

// retryAfter is how long the informer waits after a failed request.
const retryAfter = 100 * time.Millisecond

// mesh names an installation of FSM.
type mesh struct{ name, namespace string }

// meshConfig is what counts here of a MeshConfig; the zero value stands for one that does not exist.
type meshConfig struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Spec meshConfigSpec `json:"spec"`
}

// meshConfigSpec is what counts here of a MeshConfig's spec.
type meshConfigSpec struct {
	Sidecar struct {
		LocalProxyMode string `json:"localProxyMode"`
	} `json:"sidecar"`
	Traffic traffic `json:"traffic"`
}

// traffic is where the mode of interception and the global lists are.
type traffic struct {
	InterceptionMode              string   `json:"interceptionMode"`
	OutboundPortExclusionList     []int    `json:"outboundPortExclusionList"`
	InboundPortExclusionList      []int    `json:"inboundPortExclusionList"`
	OutboundIPRangeExclusionList  []string `json:"outboundIPRangeExclusionList"`
	OutboundIPRangeInclusionList  []string `json:"outboundIPRangeInclusionList"`
	NetworkInterfaceExclusionList []string `json:"networkInterfaceExclusionList"`
}

// informer keeps the MeshConfig as the API server last reported it.
type informer struct {
	api    *apiServer
	path   string
	latest atomic.Pointer[meshConfig]
	synced chan struct{} // closed after the first report
	once   sync.Once
}

// newInformer knows which MeshConfig to look at; it does not ask before run.
func newInformer(api *apiServer, mesh mesh) *informer {
	path := fmt.Sprintf("/apis/config.flomesh.io/v1alpha3/namespaces/%s/meshconfigs"+
		"?fieldSelector=metadata.name%%3D%s-mesh-config", mesh.namespace, mesh.name)
	return &informer{api: api, path: path, synced: make(chan struct{})}
}

// run lists and watches for ever; where a watch ends, whatever the reason, it lists again.
func (i *informer) run() {
	for {
		version, err := i.list()
		if err == nil {
			err = i.watch(version)
		}
		if err != nil && err != io.EOF {
			log.Printf("MeshConfig: %v", err)
			time.Sleep(retryAfter)
		}
	}
}

// list takes over what is there, and returns the version from which on to watch.
func (i *informer) list() (string, error) {
	var found struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
		Items []meshConfig `json:"items"`
	}
	if err := i.api.get(i.path, &found); err != nil {
		return "", err
	}
	latest := &meshConfig{}
	if len(found.Items) > 0 {
		latest = &found.Items[0]
	}
	i.store(latest)
	return found.Metadata.ResourceVersion, nil
}

// watch takes over every change since version, until the API server ends the stream or reports an error.
func (i *informer) watch(version string) error {
	stream, err := i.api.open(i.path + "&watch=true&resourceVersion=" + version)
	if err != nil {
		return err
	}
	defer stream.Close()
	events := json.NewDecoder(stream)
	for {
		var event struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := events.Decode(&event); err != nil {
			return err
		}
		changed := &meshConfig{}
		switch event.Type {
		case "ADDED", "MODIFIED":
			if err := json.Unmarshal(event.Object, changed); err != nil {
				return err
			}
		case "DELETED":
		default:
			return fmt.Errorf("watch: %s %s", event.Type, event.Object)
		}
		i.store(changed)
	}
}

// store takes over a report.
func (i *informer) store(latest *meshConfig) {
	i.latest.Store(latest)
	i.once.Do(func() { close(i.synced) })
}
