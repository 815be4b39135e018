package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
)

// review is an AdmissionReview, as it is asked and as it is answered.
type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

// request is what is asked about: a pod that somebody wants to create.
type request struct {
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
	Object    pod    `json:"object"`
}

// response lets the pod in, changed by the patch, or says why not.
type response struct {
	UID       string  `json:"uid"`
	Allowed   bool    `json:"allowed"`
	Status    *status `json:"status,omitempty"`
	PatchType string  `json:"patchType,omitempty"`
	Patch     []byte  `json:"patch,omitempty"` // base64 in JSON, as the API server wants it
}

// status carries the words that the pod's creator gets to read.
type status struct {
	Message string `json:"message"`
}

// newWebhook answers the API server's reviews; and at /meshconfig which version of the MeshConfig it works with.
func newWebhook(api *apiServer, mesh mesh, configs *informer) http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("POST /mutate-pod-creation", func(writer http.ResponseWriter, asked *http.Request) {
		var review review
		if err := json.NewDecoder(asked.Body).Decode(&review); err != nil || review.Request == nil {
			http.Error(writer, "not an AdmissionReview of a pod", http.StatusBadRequest)
			return
		}
		review.Response = respond(api, mesh, configs, review.Request)
		review.Request = nil
		writer.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(writer).Encode(review); err != nil {
			log.Printf("answering a review: %v", err)
		}
	})
	routes.HandleFunc("GET /meshconfig", func(writer http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(writer, configs.latest.Load().Metadata.ResourceVersion)
	})
	return routes
}

// respond admits a pod with the patch that injects it, as it is where it is not to be injected, or not at all.
func respond(api *apiServer, mesh mesh, configs *informer, request *request) *response {
	patch, err := inject(api, mesh, configs.latest.Load().Spec, &request.Object, request.Namespace)
	if err != nil {
		return &response{UID: request.UID, Status: &status{err.Error()}}
	}
	if patch == nil {
		return &response{UID: request.UID, Allowed: true}
	}
	encoded, err := json.Marshal(patch)
	if err != nil {
		return &response{UID: request.UID, Status: &status{err.Error()}}
	}
	return &response{UID: request.UID, Allowed: true, PatchType: "JSONPatch", Patch: encoded}
}
