package main

import (
	"fmt"
	"strconv"
	"strings"
)

// Ports of the sidecar, and the user that it runs as.
const (
	outboundListener = 15001
	inboundListener  = 15003
	adminPort        = 15000
	metricsPort      = 15010
	sidecarUser      = 1500
)

// probePorts are where the sidecar answers the kubelet: liveness, readiness, startup and its own health.
var probePorts = []int{15901, 15902, 15903, 15904}

// script is what the init container runs: rules in the form of iptables-save, in a here-document.
func script(wanted lists, localProxyMode string) string {
	return "iptables-restore --noflush <<EOF\n" +
		"# FSM sidecar interception rules\n" +
		"*nat\n" +
		":FSM_PROXY_INBOUND - [0:0]\n" +
		":FSM_PROXY_IN_REDIRECT - [0:0]\n" +
		":FSM_PROXY_OUTBOUND - [0:0]\n" +
		":FSM_PROXY_OUT_REDIRECT - [0:0]\n" +
		strings.Join(append(inboundRules(wanted), outboundRules(wanted, localProxyMode)...), "\n") +
		"\nCOMMIT\n" +
		"EOF\n"
}

// inboundRules lead what arrives at the pod to the sidecar. What is excluded is inserted, so it is met first.
func inboundRules(wanted lists) []string {
	rules := []string{
		fmt.Sprintf("-A FSM_PROXY_IN_REDIRECT -p tcp -j REDIRECT --to-port %d", inboundListener),
		"-A PREROUTING -p tcp -j FSM_PROXY_INBOUND",
	}
	for _, port := range append([]int{metricsPort}, probePorts...) {
		rules = append(rules, fmt.Sprintf("-A FSM_PROXY_INBOUND -p tcp --dport %d -j RETURN", port))
	}
	rules = append(rules, "-A FSM_PROXY_INBOUND -p tcp -j FSM_PROXY_IN_REDIRECT")
	for _, name := range wanted.interfaces {
		rules = append(rules, fmt.Sprintf("-I FSM_PROXY_INBOUND -i %s -j RETURN", name))
	}
	if len(wanted.inboundPorts) > 0 {
		rules = append(rules, "-I FSM_PROXY_INBOUND "+returnPorts(wanted.inboundPorts))
	}
	return rules
}

// outboundRules lead what leaves the pod to the sidecar, but for the sidecar's own traffic, for what stays on
// loopback, and for what is excluded. Where ranges are included, only those are led.
func outboundRules(wanted lists, localProxyMode string) []string {
	rules := []string{
		fmt.Sprintf("-A FSM_PROXY_OUT_REDIRECT -p tcp -j REDIRECT --to-port %d", outboundListener),
		fmt.Sprintf("-A FSM_PROXY_OUT_REDIRECT -p tcp --dport %d -j ACCEPT", adminPort),
		"-A OUTPUT -p tcp -j FSM_PROXY_OUTBOUND",
		fmt.Sprintf("-A FSM_PROXY_OUTBOUND -o lo ! -d 127.0.0.1/32 -m owner --uid-owner %d -j FSM_PROXY_IN_REDIRECT",
			sidecarUser),
		fmt.Sprintf("-A FSM_PROXY_OUTBOUND -o lo -m owner ! --uid-owner %d -j RETURN", sidecarUser),
		fmt.Sprintf("-A FSM_PROXY_OUTBOUND -m owner --uid-owner %d -j RETURN", sidecarUser),
		"-A FSM_PROXY_OUTBOUND -d 127.0.0.1/32 -j RETURN",
	}
	if localProxyMode == "PodIP" {
		rules = append(rules, fmt.Sprintf("-I OUTPUT -p tcp -o lo -d 127.0.0.1/32 -m owner --uid-owner %d"+
			" -j DNAT --to-destination $POD_IP", sidecarUser))
	}
	for _, name := range wanted.interfaces {
		rules = append(rules, fmt.Sprintf("-A FSM_PROXY_OUTBOUND -o %s -j RETURN", name))
	}
	for _, addresses := range wanted.excludedRanges {
		rules = append(rules, fmt.Sprintf("-A FSM_PROXY_OUTBOUND -d %s -j RETURN", addresses))
	}
	if len(wanted.outboundPorts) > 0 {
		rules = append(rules, "-A FSM_PROXY_OUTBOUND "+returnPorts(wanted.outboundPorts))
	}
	if len(wanted.includedRanges) == 0 {
		return append(rules, "-A FSM_PROXY_OUTBOUND -j FSM_PROXY_OUT_REDIRECT")
	}
	for _, addresses := range wanted.includedRanges {
		rules = append(rules, fmt.Sprintf("-A FSM_PROXY_OUTBOUND -d %s -j FSM_PROXY_OUT_REDIRECT", addresses))
	}
	return append(rules, "-A FSM_PROXY_OUTBOUND -j RETURN")
}

// returnPorts is a rule without its chain: these ports are left alone.
func returnPorts(ports []int) string {
	texts := make([]string, len(ports))
	for index, port := range ports {
		texts[index] = strconv.Itoa(port)
	}
	return fmt.Sprintf("-p tcp --match multiport --dports %s -j RETURN", strings.Join(texts, ","))
}
