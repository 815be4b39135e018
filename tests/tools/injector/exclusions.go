package main

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// prefix begins the keys of FSM's annotations and labels.
const prefix = "flomesh.io/"

// lists are what a pod's traffic is let past the sidecar for, and the ranges that it is narrowed to.
type lists struct {
	outboundPorts, inboundPorts    []int
	excludedRanges, includedRanges []string
	interfaces                     []string
}

// effectiveLists joins what a pod's annotations say with what the MeshConfig says. The first bad item of an annotation
// is an error, with which the pod is refused; what the MeshConfig holds is taken as it is.
func effectiveLists(annotations map[string]string, global traffic) (lists, error) {
	outboundPorts, err := portsOf(annotations, prefix+"outbound-port-exclusion-list")
	if err != nil {
		return lists{}, err
	}
	inboundPorts, err := portsOf(annotations, prefix+"inbound-port-exclusion-list")
	if err != nil {
		return lists{}, err
	}
	excludedRanges, err := rangesOf(annotations, prefix+"outbound-ip-range-exclusion-list")
	if err != nil {
		return lists{}, err
	}
	includedRanges, err := rangesOf(annotations, prefix+"outbound-ip-range-inclusion-list")
	if err != nil {
		return lists{}, err
	}
	return lists{
		outboundPorts:  union(global.OutboundPortExclusionList, outboundPorts),
		inboundPorts:   union(global.InboundPortExclusionList, inboundPorts),
		excludedRanges: union(excludedRanges, global.OutboundIPRangeExclusionList),
		includedRanges: union(includedRanges, global.OutboundIPRangeInclusionList),
		interfaces:     global.NetworkInterfaceExclusionList,
	}, nil
}

// portsOf are the numbers above 0 in a comma separated annotation; none where it is not there.
func portsOf(annotations map[string]string, key string) ([]int, error) {
	var ports []int
	for _, item := range items(annotations, key) {
		port, err := strconv.Atoi(item)
		if err != nil || port <= 0 {
			return nil, fmt.Errorf("Invalid port value '%s' specified for annotation '%s'", item, key)
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// rangesOf are the ranges in a comma separated annotation, as they are written; none where it is not there.
func rangesOf(annotations map[string]string, key string) ([]string, error) {
	ranges := items(annotations, key)
	for _, item := range ranges {
		if _, _, err := net.ParseCIDR(item); err != nil {
			return nil, fmt.Errorf("Invalid IP range '%s' specified for annotation '%s'", item, key)
		}
	}
	return ranges, nil
}

// items are the texts between the commas of an annotation, trimmed. An annotation without text has one empty item.
func items(annotations map[string]string, key string) []string {
	value, found := annotations[key]
	if !found {
		return nil
	}
	texts := strings.Split(value, ",")
	for index, text := range texts {
		texts[index] = strings.TrimSpace(text)
	}
	return texts
}

// union has the first occurrence of every element, those of first before those of second.
func union[T comparable](first, second []T) []T {
	var all []T
	for _, element := range slices.Concat(first, second) {
		if !slices.Contains(all, element) {
			all = append(all, element)
		}
	}
	return all
}
