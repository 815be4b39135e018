"""Many people edit one list at the same time, and nobody's entry is lost."""

import json
from concurrent.futures import ThreadPoolExecutor

from tests.cluster.test_main_job import PORTS, ready_pods
from tests.support import workloads


def at_once(count, run):
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_forty_ranges_on_one_meshconfig(fsm, fsm_plugin, figure):
    ranges = [f"10.{number}.0.0/16" for number in range(40)]
    done = at_once(40, lambda number: fsm_plugin.run("exclude-ip", ranges[number]))
    assert [one.stderr for one in done if one.returncode] == []
    kept = fsm.meshconfig()["spec"]["traffic"]["outboundIPRangeExclusionList"]
    figure(f"kubectl fsm exclude-ip, 40 at once: {len(set(kept) & set(ranges))}/40 entries")
    assert sorted(kept) == sorted(ranges)


def test_the_documented_patch_loses_entries_where_the_plugin_does_not(control_plane, fsm, fsm_plugin, figure):
    """The documentation's way beside ours: each of 10 people reads the list and patches it with one port more."""

    def documented(number):
        path = "jsonpath={.spec.traffic.outboundPortExclusionList}"
        target = ("meshconfig", "fsm-mesh-config", "-n", "fsm-system")
        read = control_plane.kubectl("get", *target, "-o", path)
        ports = [*json.loads(read.stdout or "[]"), 7000 + number]
        patch = json.dumps({"spec": {"traffic": {"outboundPortExclusionList": ports}}})
        return control_plane.kubectl("patch", *target, "--type=merge", "-p", patch)

    at_once(10, documented)
    by_patch = len(fsm.meshconfig()["spec"]["traffic"]["outboundPortExclusionList"])
    fsm.set(outboundPortExclusionList=[])
    at_once(10, lambda number: fsm_plugin.run("exclude-port", str(7000 + number)))
    by_plugin = len(fsm.meshconfig()["spec"]["traffic"]["outboundPortExclusionList"])
    figure(f"10 at once: kubectl patch --type=merge keeps {by_patch}/10, kubectl fsm exclude-port keeps {by_plugin}/10")
    assert by_plugin == 10
    assert by_patch < 10


def test_twenty_ports_fifteen_land(control_plane, fsm, fsm_plugin, figure):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop))
    ready_pods(control_plane, shop, "web")
    done = at_once(20, lambda number: fsm_plugin.run("exclude-port", str(8000 + number)))
    landed = [one for one in done if one.returncode == 0]
    refused = [one for one in done if one.returncode == 1]
    figure(f"kubectl fsm exclude-port, 20 at once: {len(landed)} landed, {len(refused)} refused")
    assert (len(landed), len(refused)) == (15, 5)
    assert all("16 outbound ports, and iptables takes 15 in one match: 1 pod" in one.stderr for one in refused)
    assert len(set(fsm.meshconfig()["spec"]["traffic"]["outboundPortExclusionList"])) == 15


def test_ten_ports_on_one_deployment(control_plane, fsm, fsm_plugin, figure):
    shop = fsm.namespace()
    control_plane.apply(workloads.deployment("web", shop, {PORTS: "22"}))
    ready_pods(control_plane, shop, "web")
    done = at_once(
        10, lambda number: fsm_plugin.run("exclude-port", str(8000 + number), "--workload=deploy/web", "-n", shop)
    )
    assert [one.stderr for one in done if one.returncode] == []
    template = control_plane.get("deployment", "web", shop)["spec"]["template"]
    kept = template["metadata"]["annotations"][PORTS].split(",")
    figure(f"kubectl fsm exclude-port --workload, 10 at once: {len(kept) - 1}/10 entries")
    assert sorted(kept) == sorted(["22", *(str(8000 + number) for number in range(10))])
