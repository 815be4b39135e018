package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
)

// apiServer is asked with a client certificate.
type apiServer struct {
	url    string
	client *http.Client
}

// newAPIServer reads the PEM files: the API server's CA, and the client's certificate with its key.
func newAPIServer(url, authority, certificate string) (*apiServer, error) {
	text, err := os.ReadFile(authority)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("no certificate in %s", authority)
	}
	pair, err := tls.LoadX509KeyPair(certificate, certificate)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	return &apiServer{url, &http.Client{Transport: &http.Transport{TLSClientConfig: config}}}, nil
}

// get decodes the JSON that path answers into result.
func (s *apiServer) get(path string, result any) error {
	body, err := s.open(path)
	if err != nil {
		return err
	}
	defer body.Close()
	return json.NewDecoder(body).Decode(result)
}

// open returns the body of a good answer, which may go on for as long as the caller reads it.
func (s *apiServer) open(path string) (io.ReadCloser, error) {
	answer, err := s.client.Get(s.url + path)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return nil, fmt.Errorf("GET %s: %s: %s", path, answer.Status, text)
	}
	return answer.Body, nil
}
