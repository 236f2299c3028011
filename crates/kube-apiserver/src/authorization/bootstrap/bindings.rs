//! Who has the cluster-wide roles from the start, and the roles within `kube-system` and `kube-public`.

use super::declare::{Binding, EVENTS, READ, Role, Rule, Subject, named, rule};
use Subject::{Group, ServiceAccount, User};

/// Bindings of ClusterRoles; those of the controllers follow from their roles.
pub(super) const CLUSTER: &[Binding] = &[
    Binding::new("cluster-admin", &[Group("system:masters")]),
    Binding::new("system:monitoring", &[Group("system:monitoring")]),
    Binding::new("system:discovery", &[Group("system:authenticated")]),
    Binding::new("system:basic-user", &[Group("system:authenticated")]),
    Binding::new("system:public-info-viewer", &[Group("system:authenticated"), Group("system:unauthenticated")]),
    Binding::new("system:node-proxier", &[User("system:kube-proxy")]),
    Binding::new("system:kube-controller-manager", &[User("system:kube-controller-manager")]),
    Binding::new("system:kube-dns", &[ServiceAccount("kube-dns")]),
    Binding::new("system:kube-scheduler", &[User("system:kube-scheduler")]),
    Binding::new("system:volume-scheduler", &[User("system:kube-scheduler")]),
    // Kubelets have their own authorizer; the binding is kept empty for clusters that do without it.
    Binding::new("system:node", &[]),
    Binding::new("system:service-account-issuer-discovery", &[Group("system:serviceaccounts")]),
];

const LEADER_LOCKING: &[Rule] = &[
    rule("coordination.k8s.io", "leases", "create get list update watch"),
    rule("coordination.k8s.io", "leasecandidates", "create get list update watch"),
];

pub(super) const ROLES: &[(&str, Role)] = &[
    (
        "kube-system",
        Role::new(
            "extension-apiserver-authentication-reader",
            &[named("core", "configmaps", "extension-apiserver-authentication", READ)],
        ),
    ),
    ("kube-system", Role::new("system:controller:bootstrap-signer", &[rule("core", "secrets", READ)])),
    (
        "kube-system",
        Role::new("system:controller:cloud-provider", &[rule("core", "configmaps", "create get list watch")]),
    ),
    (
        "kube-system",
        Role::new("system:controller:token-cleaner", &[rule("core", "secrets", "delete get list watch"), EVENTS]),
    ),
    ("kube-system", Role::new("system::leader-locking-kube-controller-manager", LEADER_LOCKING)),
    ("kube-system", Role::new("system::leader-locking-kube-scheduler", LEADER_LOCKING)),
    (
        "kube-public",
        Role::new(
            "system:controller:bootstrap-signer",
            &[rule("core", "configmaps", READ), named("core", "configmaps", "cluster-info", "update"), EVENTS],
        ),
    ),
];

pub(super) const BINDINGS: &[(&str, Binding)] = &[
    (
        "kube-system",
        Binding::new(
            "system::extension-apiserver-authentication-reader",
            &[User("system:kube-controller-manager"), User("system:kube-scheduler")],
        )
        .of("extension-apiserver-authentication-reader"),
    ),
    (
        "kube-system",
        Binding::new(
            "system::leader-locking-kube-controller-manager",
            &[
                User("system:kube-controller-manager"),
                ServiceAccount("kube-controller-manager"),
                ServiceAccount("leader-election-controller"),
            ],
        ),
    ),
    (
        "kube-system",
        Binding::new(
            "system::leader-locking-kube-scheduler",
            &[User("system:kube-scheduler"), ServiceAccount("kube-scheduler")],
        ),
    ),
    ("kube-system", Binding::new("system:controller:bootstrap-signer", &[ServiceAccount("bootstrap-signer")])),
    ("kube-system", Binding::new("system:controller:cloud-provider", &[ServiceAccount("cloud-provider")])),
    ("kube-system", Binding::new("system:controller:token-cleaner", &[ServiceAccount("token-cleaner")])),
    ("kube-public", Binding::new("system:controller:bootstrap-signer", &[ServiceAccount("bootstrap-signer")])),
];
