//! The authorizers in their order.
//!
//! Those of the server's own answer at once, webhooks have to be waited for. So a question is asked asynchronously, and
//! costs no allocation as long as no webhook is reached and nobody is refused; who cannot wait (an expression under
//! evaluation) gets an answer where one is there at once.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use k8s_openapi::api::rbac::v1::PolicyRule;
use machinery::gvk::GroupResource;
use machinery::status::Status;

use super::abac::{Abac, AbacError};
use super::always::{AlwaysAllow, AlwaysDeny};
use super::configuration::{self, AuthorizerSettings, Settings};
use super::match_conditions::MatchConditions;
use super::metrics::{AuthorizationMetrics, Decisions};
use super::node::NodeAuthorizer;
use super::node_relations::NodeRelations;
use super::rbac::{PolicySource, Rbac};
use super::webhook::Webhook;
use super::{Answer, Attributes, Decision};
use crate::outbound::{Endpoint, EndpointError};
use crate::user::MASTERS_GROUP;
use crate::{Config, UserInfo};

/// One way to decide that does not need to wait.
pub trait Authorize: Send + Sync {
    /// The decision and its reason in words.
    fn authorize(&self, attributes: &Attributes) -> (Decision, String);

    /// The decision alone, where that is cheaper.
    fn decide(&self, attributes: &Attributes) -> Decision {
        self.authorize(attributes).0
    }

    /// What a user may do in a namespace, why the list may lack something, and whether it does.
    fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<PolicyRule>, Vec<String>, bool);
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Authorizer(Arc<Inner>);

struct Inner {
    /// In the order of the configuration.
    modes: ArcSwap<Vec<Mode>>,
    parts: Parts,
    loaded: parking_lot::Mutex<Settings>,
    /// The file's text at the start.
    first: Option<Vec<u8>>,
}

/// What authorizers are made of. Of the server's own ones those stay that there were at the start.
struct Parts {
    own: Vec<(&'static str, Arc<dyn Authorize>)>,
    /// What roles grant is looked up also where RBAC does not decide requests.
    rbac: Arc<Rbac>,
    metrics: AuthorizationMetrics,
}

/// One authorizer in its place.
struct Mode {
    by: By,
    decisions: Decisions,
}

enum By {
    Own(Arc<dyn Authorize>),
    Webhook(Box<Webhook>),
}

/// What a user may do in a namespace, for reviews.
pub struct UserRules {
    pub rules: Vec<PolicyRule>,
    /// Why the list may lack something.
    pub errors: Vec<String>,
    pub incomplete: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ModeError {
    #[error("authorization-mode {} is not a valid mode", machinery::go_text::quote(.0))]
    Unknown(String),
    #[error("authorization-mode [{}] has mode specified more than once", quoted(.0))]
    Twice(Vec<String>),
    #[error("at least one authorization-mode must be passed")]
    None,
    #[error("authorization-mode ABAC's authorization policy file not passed")]
    NoPolicyFile,
    #[error("cannot specify --authorization-policy-file without mode ABAC")]
    NoAbac,
    #[error("authorization-mode Webhook's authorization config file not passed")]
    NoWebhookFile,
    #[error("cannot specify --authorization-webhook-config-file without mode Webhook")]
    NoWebhook,
    #[error("failed to prepare the authorization mode ABAC")]
    Abac(#[source] AbacError),
    #[error("failed to load AuthorizationConfiguration from file {0}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("{0}")]
    Configuration(String),
    #[error("authorizer type {0} is not allowed if it was not enabled at initial server startup")]
    NotAtStart(String),
    #[error("missing required types: [{}]", .0.join(" "))]
    Missing(Vec<String>),
    #[error("failed to prepare the authorization webhook {0}")]
    Webhook(String, #[source] EndpointError),
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| machinery::go_text::quote(name)).collect::<Vec<_>>().join(" ")
}

impl Authorizer {
    /// The authorizers that the configuration names, in its order.
    pub fn open(
        config: &Config,
        policy: impl PolicySource + 'static,
        relations: Arc<dyn NodeRelations>,
        metrics: AuthorizationMetrics,
    ) -> Result<Self, ModeError> {
        let (settings, text) = Settings::open(config)?;
        let rbac = Arc::new(Rbac::new(policy));
        let types = settings.own_types();
        let mut own: Vec<(&'static str, Arc<dyn Authorize>)> = Vec::new();
        for kind in configuration::TYPES.into_iter().filter(|kind| types.iter().any(|own| own == kind)) {
            own.push((
                kind,
                match kind {
                    "Node" => Arc::new(NodeAuthorizer::new(relations.clone())),
                    "RBAC" => rbac.clone(),
                    "ABAC" => {
                        let file = config.authorization_policy_file.as_deref().ok_or(ModeError::NoPolicyFile)?;
                        Arc::new(Abac::open(file).map_err(ModeError::Abac)?)
                    }
                    "AlwaysAllow" => Arc::new(AlwaysAllow),
                    _ => Arc::new(AlwaysDeny),
                },
            ));
        }
        if let Some(text) = &text {
            metrics.configured(&config.id(), text);
        }
        let parts = Parts { own, rbac, metrics };
        let modes = ArcSwap::from_pointee(parts.modes(&settings)?);
        Ok(Self(Arc::new(Inner { modes, parts, loaded: parking_lot::Mutex::new(settings), first: text })))
    }

    /// The text of the configuration that the server was started with.
    pub(super) fn first_text(&self) -> Option<Vec<u8>> {
        self.0.first.clone()
    }

    /// Takes over a changed configuration; whether it says something else than before. What cannot be used changes
    /// nothing.
    pub fn reload(&self, text: &[u8]) -> Result<bool, ModeError> {
        let settings = Settings::of_text(text).map_err(ModeError::Configuration)?;
        let mut loaded = self.0.loaded.lock();
        let types = settings.own_types();
        let stays = |kind: &str| types.iter().any(|own| own == kind);
        let missing: Vec<String> =
            self.0.parts.own.iter().filter(|(kind, _)| !stays(kind)).map(|(kind, _)| (*kind).to_owned()).collect();
        if !missing.is_empty() {
            return Err(ModeError::Missing(missing));
        }
        if settings == *loaded {
            return Ok(false);
        }
        self.0.modes.store(Arc::new(self.0.parts.modes(&settings)?));
        *loaded = settings;
        Ok(true)
    }

    /// The decision, and its reason in words. [`Authorizer::check`] is cheaper where the reason of a yes is of no
    /// interest.
    pub async fn authorize(&self, attributes: &Attributes<'_>) -> Answer {
        self.answer(attributes, true).await
    }

    pub async fn allows(&self, attributes: &Attributes<'_>) -> bool {
        self.answer(attributes, false).await.is_allowed()
    }

    /// Allows, or the answer (403, or 500 where authorizers failed) that a request with these attributes gets.
    pub async fn check(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let answer = self.answer(attributes, false).await;
        match answer.error {
            _ if answer.decision == Decision::Allow => Ok(()),
            Some(error) => Err(Status::internal(error)),
            None => Err(forbidden(attributes, &answer.reason)),
        }
    }

    /// The answer, if no webhook has to be asked for it.
    pub fn at_once(&self, attributes: &Attributes<'_>) -> Option<Answer> {
        if is_master(attributes) {
            return Some(Decision::Allow.into());
        }
        let modes = self.0.modes.load_full();
        match Walk::new(&modes, true).next(attributes) {
            Step::Answer(answer) => Some(answer),
            Step::Ask(..) => None,
        }
    }

    /// The answer; the reason of a yes only where it is to be explained.
    pub async fn answer(&self, attributes: &Attributes<'_>, explain: bool) -> Answer {
        if is_master(attributes) {
            return Decision::Allow.into();
        }
        let modes = self.0.modes.load_full();
        let mut walk = Walk::new(&modes, explain);
        loop {
            match walk.next(attributes) {
                Step::Answer(answer) => return answer,
                Step::Ask(mode, webhook) => {
                    // Boxed, for requests that meet no webhook would otherwise carry the room for one.
                    let answer = Box::pin(webhook.authorize(attributes)).await;
                    if let Some(answer) = walk.take(mode, answer) {
                        return answer;
                    }
                }
            }
        }
    }

    /// The rules that apply to a user in a namespace ("" is the cluster's), as far as the authorizers can tell.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> UserRules {
        let mut all = UserRules { rules: Vec::new(), errors: Vec::new(), incomplete: false };
        for mode in self.0.modes.load().iter() {
            let (rules, errors, incomplete) = match &mode.by {
                By::Own(own) => own.rules_for(user, namespace),
                By::Webhook(webhook) => webhook.rules_for(),
            };
            all.rules.extend(rules);
            all.errors.extend(errors);
            all.incomplete |= incomplete;
        }
        all
    }

    /// What the roles bound to a user grant, whichever modes decide requests.
    pub(super) fn granted(&self, user: &UserInfo, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        self.0.parts.rbac.granted(user, namespace)
    }

    /// The rules that a role reference of a binding stands for.
    pub(super) fn role_rules(&self, namespace: &str, role_kind: &str, name: &str) -> Option<Vec<PolicyRule>> {
        self.0.parts.rbac.role_rules(namespace, role_kind, name)
    }
}

fn is_master(attributes: &Attributes<'_>) -> bool {
    attributes.user.in_group(MASTERS_GROUP)
}

impl Parts {
    fn modes(&self, settings: &Settings) -> Result<Vec<Mode>, ModeError> {
        let mode = |authorizer: &AuthorizerSettings| {
            let by = match &authorizer.webhook {
                Some(_) => By::Webhook(Box::new(self.webhook(authorizer)?)),
                None => By::Own(self.own(&authorizer.kind)?),
            };
            Ok(Mode { by, decisions: self.metrics.decisions(&authorizer.kind, &authorizer.name) })
        };
        settings.authorizers.iter().map(mode).collect()
    }

    fn own(&self, kind: &str) -> Result<Arc<dyn Authorize>, ModeError> {
        match kind {
            "AlwaysAllow" => return Ok(Arc::new(AlwaysAllow)),
            "AlwaysDeny" => return Ok(Arc::new(AlwaysDeny)),
            _ => {}
        }
        let own = self.own.iter().find(|(own, _)| *own == kind);
        own.map(|(_, own)| own.clone()).ok_or_else(|| ModeError::NotAtStart(kind.to_owned()))
    }

    fn webhook(&self, authorizer: &AuthorizerSettings) -> Result<Webhook, ModeError> {
        let settings = authorizer.webhook.clone().unwrap_or_default();
        let endpoint = Endpoint::open(configuration::kubeconfig(&settings), super::webhook::PAUSE);
        let endpoint = endpoint.map_err(|error| ModeError::Webhook(authorizer.name.clone(), error))?;
        let expressions = settings.match_conditions.iter().map(|condition| condition.expression.as_str());
        let mut errors = Vec::new();
        let conditions = MatchConditions::compile(expressions, &machinery::field::Path::root(), &mut errors);
        if !errors.is_empty() {
            return Err(ModeError::Configuration(machinery::field::aggregate(&errors)));
        }
        Ok(Webhook::new(&authorizer.name, endpoint, settings.options(), conditions, self.metrics.clone()))
    }
}

/// A question on its way through the authorizers.
struct Walk<'m> {
    modes: std::slice::Iter<'m, Mode>,
    /// Whether the reason of a yes is wanted.
    explain: bool,
    reasons: Vec<String>,
    errors: Vec<String>,
}

enum Step<'m> {
    Answer(Answer),
    /// A webhook has to be asked.
    Ask(&'m Mode, &'m Webhook),
}

impl<'m> Walk<'m> {
    fn new(modes: &'m [Mode], explain: bool) -> Self {
        Self { modes: modes.iter(), explain, reasons: Vec::new(), errors: Vec::new() }
    }

    /// Asks the authorizers of the server's own up to the next webhook.
    fn next(&mut self, attributes: &Attributes<'_>) -> Step<'m> {
        while let Some(mode) = self.modes.next() {
            let own = match &mode.by {
                By::Own(own) => own,
                By::Webhook(webhook) => return Step::Ask(mode, webhook),
            };
            let answer = if !self.explain && own.decide(attributes) == Decision::Allow {
                Decision::Allow.into()
            } else {
                let (decision, reason) = own.authorize(attributes);
                Answer { decision, reason, error: None }
            };
            if let Some(answer) = self.take(mode, answer) {
                return Step::Answer(answer);
            }
        }
        let error = match std::mem::take(&mut self.errors) {
            errors if errors.len() > 1 => Some(format!("[{}]", errors.join(", "))),
            errors => errors.into_iter().next(),
        };
        Step::Answer(Answer { decision: Decision::NoOpinion, reason: self.reasons.join("\n"), error })
    }

    /// The answer, if this is the one that counts.
    fn take(&mut self, mode: &Mode, answer: Answer) -> Option<Answer> {
        match answer.decision {
            Decision::Allow => mode.decisions.allowed.inc(),
            Decision::Deny => mode.decisions.denied.inc(),
            Decision::NoOpinion => {
                self.reasons.extend(Some(answer.reason).filter(|reason| !reason.is_empty()));
                self.errors.extend(answer.error);
                return None;
            }
        };
        Some(answer)
    }
}

/// The answer to somebody who may not do this.
pub fn forbidden(attributes: &Attributes, reason: &str) -> Status {
    let mut message = describe(attributes);
    if !reason.is_empty() {
        message = format!("{message}: {reason}");
    }
    let resource = GroupResource { group: attributes.api_group.into(), resource: attributes.resource.into() };
    Status::forbidden(&resource, attributes.name, message)
}

/// `User "u" cannot get resource "pods/log" in API group "" in the namespace "ns"`
fn describe(attributes: &Attributes) -> String {
    let quote = machinery::go_text::quote;
    let (user, verb) = (quote(&attributes.user.name), attributes.verb);
    if !attributes.resource_request {
        return format!("User {user} cannot {verb} path {}", quote(attributes.path));
    }
    let mut resource = attributes.resource.to_owned();
    if !attributes.subresource.is_empty() {
        resource = format!("{resource}/{}", attributes.subresource);
    }
    let (resource, group) = (quote(&resource), quote(attributes.api_group));
    let place = match attributes.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {}", quote(namespace)),
    };
    format!("User {user} cannot {verb} resource {resource} in API group {group} {place}")
}
