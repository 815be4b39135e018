"""Every check, in the order of the troubleshooting guide: the way into the mesh first, what goes wrong later after it."""

from collections.abc import Mapping, Sequence
from typing import Any

from kubectl_fsm.checks import drift, injection, modes, namespaces, opinion, refusals, startup, webhook
from kubectl_fsm.checks.model import Check

_ALL: Sequence[Check[Any]] = (
    namespaces.namespace_unlabelled,
    namespaces.namespace_mesh_unknown,
    namespaces.namespace_two_meshes,
    namespaces.namespace_ignored,
    namespaces.namespace_unmeshable,
    namespaces.namespace_annotation_refused,
    namespaces.namespace_annotation_unread,
    namespaces.injection_missing,
    namespaces.injection_partial,
    namespaces.namespace_opted_out,
    injection.injection_refused,
    injection.injection_unread,
    injection.metrics_unread,
    injection.host_network,
    injection.injected_template,
    injection.opted_out,
    injection.made_before,
    modes.interception_off,
    modes.interception_elsewhere,
    modes.lists_unused,
    modes.annotations_unused,
    webhook.webhook_missing,
    webhook.webhook_untrusted,
    webhook.webhook_fails_open,
    webhook.webhook_unreachable,
    webhook.webhook_blind,
    webhook.control_plane_down,
    refusals.pods_refused,
    refusals.pods_refused_elsewhere,
    startup.sidecar_missing,
    startup.sidecar_not_ready,
    startup.init_missing,
    startup.init_failed,
    opinion.injector_refuses,
    opinion.injector_differs,
    startup.pods_of_another_mesh,
    startup.init_foreign,
    drift.outdated,
)
CHECKS: Mapping[str, Check[Any]] = {one.identity: one for one in _ALL}
