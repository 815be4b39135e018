"""Packet filter rules as iptables has them: read, applied, written and walked. Knows neither mesh nor Kubernetes."""

from kubectl_fsm.netfilter.model import Ruleset
from kubectl_fsm.netfilter.script import parse

__all__ = ["Ruleset", "parse"]
