//! Roles of the controllers: each is bound to the ServiceAccount of its name in `kube-system`, and is called
//! `system:controller:NAME`.

use super::declare::{EVENTS, READ, Role, named, rule};

pub(super) const PREFIX: &str = "system:controller:";

pub(super) const ROLES: &[Role] = &[
    Role::new(
        "attachdetach-controller",
        &[
            rule("core", "persistentvolumeclaims persistentvolumes", "list watch"),
            rule("core", "nodes", READ),
            rule("core", "nodes/status", "patch update"),
            rule("core", "pods", "list watch"),
            EVENTS,
            rule("storage.k8s.io", "volumeattachments", "create delete get list watch"),
            rule("storage.k8s.io", "csidrivers", READ),
            rule("storage.k8s.io", "csinodes", READ),
        ],
    ),
    Role::new(
        "certificate-controller",
        &[
            rule("certificates.k8s.io", "certificatesigningrequests", "delete get list watch"),
            rule(
                "certificates.k8s.io",
                "certificatesigningrequests/approval certificatesigningrequests/status",
                "update",
            ),
            named("certificates.k8s.io", "signers", "kubernetes.io/kube-apiserver-client-kubelet", "approve"),
            named(
                "certificates.k8s.io",
                "signers",
                "kubernetes.io/kube-apiserver-client kubernetes.io/kube-apiserver-client-kubelet \
                 kubernetes.io/kubelet-serving kubernetes.io/legacy-unknown",
                "sign",
            ),
            rule("authorization.k8s.io", "subjectaccessreviews", "create"),
            EVENTS,
        ],
    ),
    Role::new(
        "clusterrole-aggregation-controller",
        &[rule("rbac.authorization.k8s.io", "clusterroles", "escalate get list patch update watch")],
    ),
    Role::new(
        "cronjob-controller",
        &[
            rule("batch", "cronjobs", "get list update watch"),
            rule("batch", "jobs", "create delete get list patch update watch"),
            rule("batch", "cronjobs/status", "update"),
            rule("batch", "cronjobs/finalizers", "update"),
            rule("core", "pods", "delete list watch"),
            EVENTS,
        ],
    ),
    Role::new(
        "daemon-set-controller",
        &[
            rule("apps extensions", "daemonsets", READ),
            rule("apps extensions", "daemonsets/status", "update"),
            rule("apps extensions", "daemonsets/finalizers", "update"),
            rule("core", "nodes", "list watch"),
            rule("core", "pods", "create delete list patch watch"),
            rule("core", "pods/binding", "create"),
            rule("apps", "controllerrevisions", "create delete get list patch update watch"),
            EVENTS,
        ],
    ),
    Role::new(
        "deployment-controller",
        &[
            rule("apps extensions", "deployments", "get list update watch"),
            rule("apps extensions", "deployments/status", "update"),
            rule("apps extensions", "deployments/finalizers", "update"),
            rule("apps extensions", "replicasets", "create delete get list patch update watch"),
            rule("core", "pods", "get list update watch"),
            EVENTS,
        ],
    ),
    Role::new(
        "device-taint-eviction-controller",
        &[
            rule("core", "pods", "delete get list watch"),
            rule("core", "pods/status", "patch update"),
            rule("resource.k8s.io", "resourceclaims", READ),
            rule("resource.k8s.io", "resourceslices", READ),
            rule("resource.k8s.io", "deviceclasses", READ),
            EVENTS,
        ],
    ),
    Role::new(
        "disruption-controller",
        &[
            rule("apps extensions", "deployments", READ),
            rule("apps extensions", "replicasets", READ),
            rule("core", "replicationcontrollers", READ),
            rule("policy", "poddisruptionbudgets", READ),
            rule("apps", "statefulsets", READ),
            rule("policy", "poddisruptionbudgets/status", "update"),
            rule("core", "pods/status", "patch update"),
            rule("*", "*/scale", "get"),
            EVENTS,
        ],
    ),
    Role::new(
        "endpoint-controller",
        &[
            rule("core", "pods services", READ),
            rule("core", "endpoints", "create delete get list update watch"),
            rule("core", "endpoints/restricted", "create"),
            EVENTS,
        ],
    ),
    Role::new(
        "endpointslice-controller",
        &[
            rule("core", "nodes pods services", READ),
            rule("core", "services/finalizers", "update"),
            rule("discovery.k8s.io", "endpointslices", "create delete get list update watch"),
            rule("discovery.k8s.io", "endpointslices/restricted", "create"),
            EVENTS,
        ],
    ),
    Role::new(
        "endpointslicemirroring-controller",
        &[
            rule("core", "endpoints services", READ),
            rule("core", "services/finalizers", "update"),
            rule("core", "endpoints/finalizers", "update"),
            rule("discovery.k8s.io", "endpointslices", "create delete get list update watch"),
            rule("discovery.k8s.io", "endpointslices/restricted", "create"),
            EVENTS,
        ],
    ),
    Role::new(
        "ephemeral-volume-controller",
        &[
            rule("core", "pods", READ),
            rule("core", "pods/finalizers", "update"),
            rule("core", "persistentvolumeclaims", "create get list watch"),
            EVENTS,
        ],
    ),
    Role::new(
        "expand-controller",
        &[
            rule("core", "persistentvolumes", "get list patch update watch"),
            rule("core", "persistentvolumeclaims/status", "patch update"),
            rule("core", "persistentvolumeclaims", READ),
            EVENTS,
        ],
    ),
    Role::new("generic-garbage-collector", &[rule("*", "*", "delete get list patch update watch"), EVENTS]),
    Role::new(
        "horizontal-pod-autoscaler",
        &[
            rule("autoscaling", "horizontalpodautoscalers", READ),
            rule("autoscaling", "horizontalpodautoscalers/status", "update"),
            rule("*", "*/scale", "get update"),
            rule("core", "pods", "list watch"),
            rule("metrics.k8s.io", "pods", "list watch"),
            rule("custom.metrics.k8s.io", "*", READ),
            rule("external.metrics.k8s.io", "*", READ),
            EVENTS,
        ],
    ),
    Role::new(
        "job-controller",
        &[
            rule("batch", "jobs", "get list patch update watch"),
            rule("batch", "jobs/status", "update"),
            rule("batch", "jobs/finalizers", "update"),
            rule("core", "pods", "create delete list patch watch"),
            EVENTS,
        ],
    ),
    Role::new(
        "legacy-service-account-token-cleaner",
        &[
            named("core", "configmaps", "kube-apiserver-legacy-service-account-token-tracking", "get"),
            rule("core", "secrets", "delete patch"),
        ],
    ),
    Role::new(
        "namespace-controller",
        &[
            rule("core", "namespaces", "delete get list watch"),
            rule("core", "namespaces/finalize namespaces/status", "update"),
            rule("*", "*", "delete deletecollection get list watch"),
        ],
    ),
    Role::new(
        "node-controller",
        &[
            rule("core", "nodes", "delete get list patch update watch"),
            rule("core", "nodes/status", "patch update"),
            rule("core", "pods/status", "patch update"),
            rule("core", "pods", "delete get list watch"),
            EVENTS,
        ],
    ),
    Role::new(
        "persistent-volume-binder",
        &[
            rule("core", "persistentvolumes", "create delete get list update watch"),
            rule("core", "persistentvolumes/status", "update"),
            rule("core", "persistentvolumeclaims", "get list update watch"),
            rule("core", "persistentvolumeclaims/status", "update"),
            rule("core", "pods", "create delete get list watch"),
            rule("storage.k8s.io", "storageclasses", READ),
            rule("core", "nodes", "list watch"),
            EVENTS,
            rule("core", "events", "watch"),
        ],
    ),
    Role::new(
        "pod-garbage-collector",
        &[rule("core", "pods", "delete list watch"), rule("core", "nodes", READ), rule("core", "pods/status", "patch")],
    ),
    Role::new("pv-protection-controller", &[rule("core", "persistentvolumes", "get list update watch"), EVENTS]),
    Role::new(
        "pvc-protection-controller",
        &[
            rule("core", "persistentvolumeclaims", "get list update watch"),
            rule("core", "persistentvolumeclaims/status", "update"),
            rule("core", "pods", READ),
            EVENTS,
        ],
    ),
    Role::new(
        "replicaset-controller",
        &[
            rule("apps extensions", "replicasets", "get list update watch"),
            rule("apps extensions", "replicasets/status", "update"),
            rule("apps extensions", "replicasets/finalizers", "update"),
            rule("core", "pods", "create delete list patch watch"),
            EVENTS,
        ],
    ),
    Role::new(
        "replication-controller",
        &[
            rule("core", "replicationcontrollers", "get list update watch"),
            rule("core", "replicationcontrollers/status", "update"),
            rule("core", "replicationcontrollers/finalizers", "update"),
            rule("core", "pods", "create delete list patch watch"),
            EVENTS,
        ],
    ),
    Role::new(
        "resource-claim-controller",
        &[
            rule("core", "pods", READ),
            rule("core", "pods/finalizers", "update"),
            rule("resource.k8s.io", "resourceclaims", "create delete get list watch"),
            rule("resource.k8s.io", "resourceclaims resourceclaims/status", "patch update"),
            rule("core", "pods/status", "patch update"),
            EVENTS,
            rule("resource.k8s.io", "resourceclaims/binding", "patch update"),
        ],
    ),
    Role::new(
        "resourcequota-controller",
        &[rule("*", "*", "list watch"), rule("core", "resourcequotas/status", "update"), EVENTS],
    ),
    Role::new("root-ca-cert-publisher", &[rule("core", "configmaps", "create update"), EVENTS]),
    Role::new(
        "route-controller",
        &[rule("core", "nodes", "list watch"), rule("core", "nodes/status", "patch"), EVENTS],
    ),
    Role::new(
        "selinux-warning-controller",
        &[
            EVENTS,
            rule("core", "persistentvolumes", READ),
            rule("core", "persistentvolumeclaims", READ),
            rule("core", "pods", READ),
            rule("storage.k8s.io", "csidrivers", READ),
        ],
    ),
    Role::new("service-account-controller", &[rule("core", "serviceaccounts", "create"), EVENTS]),
    Role::new(
        "service-cidrs-controller",
        &[
            rule("networking.k8s.io", "servicecidrs", "get list patch update watch"),
            rule("networking.k8s.io", "servicecidrs/finalizers", "patch update"),
            rule("networking.k8s.io", "servicecidrs/status", "patch update"),
            rule("networking.k8s.io", "ipaddresses", READ),
            EVENTS,
        ],
    ),
    Role::new(
        "service-controller",
        &[
            rule("core", "services", READ),
            rule("core", "services/status", "patch update"),
            rule("core", "nodes", "list watch"),
            EVENTS,
        ],
    ),
    Role::new(
        "statefulset-controller",
        &[
            rule("core", "pods", "list watch"),
            rule("apps", "statefulsets", READ),
            rule("apps", "statefulsets/status", "update"),
            rule("apps", "statefulsets/finalizers", "update"),
            rule("core", "pods", "create delete get patch update"),
            rule("apps", "controllerrevisions", "create delete get list patch update watch"),
            rule("core", "persistentvolumeclaims", "create get list watch"),
            rule("core", "persistentvolumeclaims", "delete update"),
            rule("core", "pods/finalizers", "update"),
            EVENTS,
        ],
    ),
    Role::new("ttl-after-finished-controller", &[rule("batch", "jobs", "delete get list watch"), EVENTS]),
    Role::new("ttl-controller", &[rule("core", "nodes", "list patch update watch"), EVENTS]),
    Role::new(
        "validatingadmissionpolicy-status-controller",
        &[
            rule("admissionregistration.k8s.io", "validatingadmissionpolicies", READ),
            rule("admissionregistration.k8s.io", "validatingadmissionpolicies/status", "get patch update"),
            EVENTS,
        ],
    ),
    Role::new(
        "volumeattributesclass-protection-controller",
        &[
            rule("core", "persistentvolumeclaims", READ),
            rule("core", "persistentvolumes", READ),
            rule("storage.k8s.io", "volumeattributesclasses", "get list update watch"),
            EVENTS,
        ],
    ),
];
