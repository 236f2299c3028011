//! Roles for people, and for what everyone may see of the server.

use super::declare::{ALL, READ, Role, WRITE, rule, urls};

pub(super) const ROLES: &[Role] = &[
    Role::new("cluster-admin", &[rule("*", "*", "*"), urls("*", "*")]),
    Role::aggregated("admin", "admin"),
    Role::aggregated("edit", "edit").part_of("admin"),
    Role::aggregated("view", "view").part_of("edit"),
    Role::new(
        "system:aggregate-to-admin",
        &[
            rule("authorization.k8s.io", "localsubjectaccessreviews", "create"),
            rule("rbac.authorization.k8s.io", "rolebindings roles", ALL),
        ],
    )
    .part_of("admin"),
    Role::new(
        "system:aggregate-to-edit",
        &[
            rule("core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", READ),
            rule("core", "serviceaccounts", "impersonate"),
            rule("core", "pods pods/attach pods/exec pods/portforward pods/proxy", WRITE),
            rule("core", "pods/eviction", "create"),
            rule(
                "core",
                "configmaps persistentvolumeclaims replicationcontrollers replicationcontrollers/scale \
                 secrets serviceaccounts services services/proxy",
                WRITE,
            ),
            rule("core", "serviceaccounts/token", "create"),
            rule("core events.k8s.io", "events", WRITE),
            rule(
                "apps",
                "daemonsets deployments deployments/rollback deployments/scale replicasets \
                 replicasets/scale statefulsets statefulsets/scale",
                WRITE,
            ),
            rule("autoscaling", "horizontalpodautoscalers", WRITE),
            rule("batch", "cronjobs jobs", WRITE),
            rule(
                "extensions",
                "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies \
                 replicasets replicasets/scale replicationcontrollers/scale",
                WRITE,
            ),
            rule("policy", "poddisruptionbudgets", WRITE),
            rule("networking.k8s.io", "ingresses networkpolicies", WRITE),
            rule("coordination.k8s.io", "leases", ALL),
            rule("resource.k8s.io", "resourceclaims resourceclaimtemplates", WRITE),
        ],
    )
    .part_of("edit"),
    Role::new(
        "system:aggregate-to-view",
        &[
            rule(
                "core",
                "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods \
                 replicationcontrollers replicationcontrollers/scale serviceaccounts services \
                 services/status",
                READ,
            ),
            rule(
                "core",
                "bindings limitranges namespaces/status pods/log pods/status \
                 replicationcontrollers/status resourcequotas resourcequotas/status",
                READ,
            ),
            rule("core", "namespaces", READ),
            rule("core events.k8s.io", "events", READ),
            rule("discovery.k8s.io", "endpointslices", READ),
            rule(
                "apps",
                "controllerrevisions daemonsets daemonsets/status deployments deployments/scale \
                 deployments/status replicasets replicasets/scale replicasets/status statefulsets \
                 statefulsets/scale statefulsets/status",
                READ,
            ),
            rule("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", READ),
            rule("batch", "cronjobs cronjobs/status jobs jobs/status", READ),
            rule(
                "extensions",
                "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses \
                 ingresses/status networkpolicies replicasets replicasets/scale replicasets/status \
                 replicationcontrollers/scale",
                READ,
            ),
            rule("policy", "poddisruptionbudgets poddisruptionbudgets/status", READ),
            rule("networking.k8s.io", "ingresses ingresses/status networkpolicies", READ),
            rule("resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates", READ),
        ],
    )
    .part_of("view"),
    Role::new(
        "system:discovery",
        &[urls("/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/", "get")],
    ),
    Role::new(
        "system:basic-user",
        &[
            rule("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "create"),
            rule("authentication.k8s.io", "selfsubjectreviews", "create"),
        ],
    ),
    Role::new("system:public-info-viewer", &[urls("/healthz /livez /readyz /version /version/", "get")]),
    Role::new(
        "system:monitoring",
        &[
            urls(
                "/flagz /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/* \
                 /statusz",
                "get",
            ),
            rule("core", "nodes/metrics", "get"),
        ],
    ),
    Role::new(
        "system:service-account-issuer-discovery",
        &[urls(
            "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks \
                 /openid/v1/jwks/",
            "get",
        )],
    ),
];
