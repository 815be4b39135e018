"""The pods of the labs, and an injector's script as the text that `iptables-restore` reads."""

from __future__ import annotations

from kubectl_fsm.generator import render
from kubectl_fsm.meshes import ADMIN_PORT, INBOUND_LISTENER, OUTBOUND_LISTENER, RESERVED_PORTS, SIDECAR_UID
from kubectl_fsm.netfilter.kernel import PodNet
from kubectl_fsm.netfilter.script import RESTORE, Form, read, write_script

APP_UID = 1000
APP_PORTS = (80, 8080, 6379)
DNS, DNS_PROXY = 53, 5300
DNS_PROXY_ADDRESS = "127.0.0.153"
"""Where a pod of osm-edge 1.3 or FSM 1.2 asks for names if `localDNSProxy` is on; the sidecar answers at `DNS_PROXY`."""
SIDECAR = dict.fromkeys((*RESERVED_PORTS, ADMIN_PORT, OUTBOUND_LISTENER, INBOUND_LISTENER, DNS_PROXY), SIDECAR_UID)
LISTENERS = {**SIDECAR, **dict.fromkeys((*APP_PORTS, DNS), APP_UID)}

WEB = PodNet("web", {"eth0": "10.244.1.2", "net1": "10.245.1.2", "veth7": "10.246.1.2"}, LISTENERS)
API = PodNet("api", {"eth0": "10.244.1.3"}, LISTENERS)


def restore_text(script: str) -> str:
    """What an init container's script gives to `iptables-restore`; for one of commands, the same in that form."""
    text = write_script(read(script)._replace(form=Form.RESTORE))
    return text.removeprefix(f"{RESTORE}\n").removesuffix("EOF\n")


def rules(injector: str = "fsm-1.5", traffic: object = None, sidecar: object = None) -> str:
    """The rules of a pod without annotations, as that text."""
    return restore_text(render(injector, {}, {"traffic": traffic or {}, "sidecar": sidecar or {}}))
