//! The variable `authorizer`: checks are asked of the server's own authorizer.

use cel::{Authorizer, CheckTarget, Decision, ResourceCheck, Subject};
use machinery::{fields, labels};

use crate::authorization::{self, Attributes};
use crate::{Server, UserInfo};

#[derive(Clone, Copy)]
pub struct Checks<'a> {
    pub server: &'a Server,
    /// Who makes the request.
    pub user: &'a UserInfo,
}

impl std::fmt::Debug for Checks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checks").field("user", &self.user.name).finish_non_exhaustive()
    }
}

impl Authorizer for Checks<'_> {
    fn authorize(&self, subject: &Subject, verb: &str, target: &CheckTarget<'_>) -> Decision {
        let account;
        let user = match subject {
            Subject::Requester => self.user,
            Subject::ServiceAccount { namespace, name } => {
                account = UserInfo::service_account(namespace, name, None).with_authenticated_group();
                &account
            }
        };
        let (fields, labels);
        let attributes = match target {
            CheckTarget::Path(path) => {
                Attributes { path, resource_request: false, ..Attributes::resource(user, verb, "", "") }
            }
            CheckTarget::Resource(check) => {
                (fields, labels) = selectors(check);
                Attributes {
                    subresource: &check.subresource,
                    namespace: &check.namespace,
                    name: &check.name,
                    field_selector: fields.requirements(),
                    label_selector: labels.requirements(),
                    ..Attributes::resource(user, verb, &check.group, &check.resource)
                }
            }
        };
        let (decision, reason) = self.server.authorizer.authorize(&attributes);
        Decision { allowed: decision == authorization::Decision::Allow, reason, error: None }
    }
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
