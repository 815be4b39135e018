// Fsm-injector is FSM 1.5's injector written a second time, from its documented behaviour and from scripts that the
// released injector wrote. Two independent writings check each other: this one and kubectl_fsm's share no code and no
// language, and what both make of an input is held against each other in the tests. It is not FSM's code.
//
// In a cluster it watches the MeshConfig, as an informer does, so it can be some moments behind; and it serves the
// admission webhook that adds init container and sidecar to a new pod. With -script it reads lines of JSON
// {"annotations": …, "spec": …} and writes for each a line {"script": …, "error": …}, without a cluster.
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	var (
		scripts     = flag.Bool("script", false, "write the scripts for the inputs on standard input, and end")
		address     = flag.String("address", "", "host:port to serve the webhook on")
		certificate = flag.String("tls-cert-file", "", "PEM file with the serving certificate and its key")
		server      = flag.String("server", "", "URL of the API server")
		authority   = flag.String("certificate-authority", "", "PEM file with the API server's CA")
		client      = flag.String("client-certificate", "", "PEM file with a certificate for the API server and its key")
		mesh        mesh
	)
	flag.StringVar(&mesh.name, "mesh-name", "fsm", "name of the mesh")
	flag.StringVar(&mesh.namespace, "fsm-namespace", "fsm-system", "namespace of the mesh's control plane")
	flag.Parse()
	if *scripts {
		if err := writeScripts(os.Stdin, os.Stdout); err != nil {
			log.Fatal(err)
		}
		return
	}
	api, err := newAPIServer(*server, *authority, *client)
	if err != nil {
		log.Fatal(err)
	}
	configs := newInformer(api, mesh)
	go configs.run()
	<-configs.synced
	log.Fatal(serve(*address, *certificate, newWebhook(api, mesh, configs)))
}

// serve answers with handler over TLS, until it fails.
func serve(address, certificate string, handler http.Handler) error {
	pair, err := tls.LoadX509KeyPair(certificate, certificate)
	if err != nil {
		return err
	}
	server := &http.Server{
		Addr:      address,
		Handler:   handler,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
	}
	return server.ListenAndServeTLS("", "")
}

// writeScripts answers each line of in, at once, with a line of out: a pod's script, or why the pod is refused.
func writeScripts(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<24)
	answers := json.NewEncoder(out)
	for lines.Scan() {
		var input struct {
			Annotations map[string]string `json:"annotations"`
			Spec        meshConfigSpec    `json:"spec"`
		}
		if err := json.Unmarshal(lines.Bytes(), &input); err != nil {
			return err
		}
		var answer struct {
			Script string `json:"script"`
			Error  string `json:"error"`
		}
		lists, err := effectiveLists(input.Annotations, input.Spec.Traffic)
		if err == nil {
			answer.Script = script(lists, input.Spec.Sidecar.LocalProxyMode)
		} else {
			answer.Error = err.Error()
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}
