//! The variable `authorizer`: checks are asked of the server's own authorizer.
//!
//! An expression cannot wait for a webhook. So it is evaluated with a guess in the answer's place, the answer is fetched,
//! and it is evaluated again; what came of a guess is thrown away. Each time one more answer is there, and what checks cost
//! bounds how many an expression can ask for.

use cel::{Authorizer, CheckTarget, Decision, ResourceCheck, Subject};
use machinery::{fields, labels};
use parking_lot::Mutex;

use crate::authorization::{Answer, Attributes};
use crate::{Server, UserInfo};

pub struct Checks<'a> {
    server: &'a Server,
    /// Who makes the request.
    user: &'a UserInfo,
    answers: Mutex<Answers>,
}

/// What webhooks had to be asked for.
#[derive(Default)]
struct Answers {
    known: Vec<(Question, Answer)>,
    /// The first question of an evaluation that nobody has answered yet.
    open: Option<Question>,
}

#[derive(Clone, PartialEq, Eq)]
struct Question {
    subject: Subject,
    verb: String,
    target: Target,
}

#[derive(Clone, PartialEq, Eq)]
enum Target {
    Path(String),
    Resource(Box<ResourceCheck>),
}

impl std::fmt::Debug for Checks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checks").field("user", &self.user.name).finish_non_exhaustive()
    }
}

impl<'a> Checks<'a> {
    pub fn new(server: &'a Server, user: &'a UserInfo) -> Self {
        Self { server, user, answers: Mutex::default() }
    }

    /// Evaluates as often as there are checks that have to be waited for: once, as a rule. The closure must do nothing but
    /// evaluate.
    pub async fn settle<T>(&self, mut evaluate: impl FnMut() -> T) -> T {
        loop {
            let value = evaluate();
            let Some(question) = self.answers.lock().open.take() else { return value };
            drop(value);
            let answer = self.ask(&question).await;
            self.answers.lock().known.push((question, answer));
        }
    }

    async fn ask(&self, question: &Question) -> Answer {
        let target = match &question.target {
            Target::Path(path) => CheckTarget::Path(path),
            Target::Resource(check) => CheckTarget::Resource(check),
        };
        let asked = Asked::new(&question.subject, &target);
        self.server.authorizer.authorize(&asked.attributes(self.user, &question.verb, &target)).await
    }
}

/// What the attributes of a check borrow.
struct Asked {
    account: Option<UserInfo>,
    fields: fields::Selector,
    labels: labels::Selector,
}

impl Asked {
    fn new(subject: &Subject, target: &CheckTarget<'_>) -> Self {
        let account = match subject {
            Subject::Requester => None,
            Subject::ServiceAccount { namespace, name } => {
                Some(UserInfo::service_account(namespace, name, None).with_authenticated_group())
            }
        };
        let (fields, labels) = match target {
            CheckTarget::Path(_) => (fields::Selector::default(), labels::Selector::everything()),
            CheckTarget::Resource(check) => selectors(check),
        };
        Self { account, fields, labels }
    }

    fn attributes<'q>(&'q self, requester: &'q UserInfo, verb: &'q str, target: &CheckTarget<'q>) -> Attributes<'q> {
        let user = self.account.as_ref().unwrap_or(requester);
        match *target {
            CheckTarget::Path(path) => {
                Attributes { path, resource_request: false, ..Attributes::resource(user, verb, "", "") }
            }
            CheckTarget::Resource(check) => Attributes {
                subresource: &check.subresource,
                namespace: &check.namespace,
                name: &check.name,
                field_selector: self.fields.requirements(),
                label_selector: self.labels.requirements(),
                ..Attributes::resource(user, verb, &check.group, &check.resource)
            },
        }
    }
}

impl Authorizer for Checks<'_> {
    fn authorize(&self, subject: &Subject, verb: &str, target: &CheckTarget<'_>) -> Decision {
        let asked = Asked::new(subject, target);
        if let Some(answer) = self.server.authorizer.at_once(&asked.attributes(self.user, verb, target)) {
            return decision(&answer);
        }
        let question = Question {
            subject: subject.clone(),
            verb: verb.to_owned(),
            target: match *target {
                CheckTarget::Path(path) => Target::Path(path.to_owned()),
                CheckTarget::Resource(check) => Target::Resource(Box::new(check.clone())),
            },
        };
        let mut answers = self.answers.lock();
        if let Some((_, answer)) = answers.known.iter().find(|(known, _)| *known == question) {
            return decision(answer);
        }
        // What follows from the guess may ask more, which nobody needs to know.
        answers.open.get_or_insert(question);
        Decision::default()
    }
}

fn decision(answer: &Answer) -> Decision {
    Decision { allowed: answer.is_allowed(), reason: answer.reason.clone(), error: answer.error.clone() }
}

/// What nobody can read limits nothing: the question is then about more than was meant, and its answer only stricter.
fn selectors(check: &ResourceCheck) -> (fields::Selector, labels::Selector) {
    (
        fields::Selector::parse(&check.field_selector).unwrap_or_default(),
        labels::Selector::parse(&check.label_selector).unwrap_or_else(|_| labels::Selector::everything()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_that_nobody_can_read_limit_nothing() {
        let check = |field: &str, label: &str| ResourceCheck {
            field_selector: field.to_owned(),
            label_selector: label.to_owned(),
            ..ResourceCheck::default()
        };
        let (fields, labels) = selectors(&check("spec.nodeName=n", "a in (b, c),d"));
        assert_eq!((fields.requirements()[0].field.as_str(), labels.requirements().len()), ("spec.nodeName", 2));
        let (fields, labels) = selectors(&check("nonsense", "a in"));
        assert!(fields.is_everything() && labels.is_everything());
    }
}
