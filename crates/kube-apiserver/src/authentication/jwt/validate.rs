//! What is wrong with the issuers of a configuration. Expressions are compiled beside this, by `mappings`.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use machinery::field::{Error, ErrorList, Path};
use regex::Regex;

use super::settings::{ClaimMappings, ClaimValidationRule, Issuer, JwtAuthenticator, PrefixedMapping};
use crate::outbound::tls::Roots;
use crate::outbound::{Tls, Url};

pub const ISSUERS_MAX: usize = 64;
pub const ALGORITHMS: &[&str] = &["RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "PS384", "PS512"];
const MATCH_ANY: &str = "MatchAny";
const EITHER: &str = "claim or expression is required";
const NOT_BOTH: &str = "claim and expression can't both be set";
const NO_PREFIX: &str = "prefix can't be set when expression is set";
const PREFIX: &str = "prefix is required when claim is set. It can be set to an empty string to disable prefixing";

/// `own_issuers` are those of ServiceAccount tokens.
pub fn issuers(all: &[JwtAuthenticator], own_issuers: &[String]) -> ErrorList {
    let root = Path::new("jwt");
    let mut errors = ErrorList::new();
    if all.len() > ISSUERS_MAX {
        errors.push(Error::too_many(&root, all.len(), ISSUERS_MAX));
        return errors;
    }
    let (mut urls, mut discovery_urls) = (BTreeSet::new(), BTreeSet::new());
    for (at, one) in all.iter().enumerate() {
        let path = root.index(at);
        let issuer = path.child("issuer");
        check_issuer(&one.issuer, own_issuers, &issuer, &mut errors);
        if !urls.insert(&one.issuer.url) {
            errors.push(Error::duplicate(&issuer.child("url"), &one.issuer.url));
        }
        if let Some(url) = &one.issuer.discovery_url
            && !discovery_urls.insert(url)
        {
            errors.push(Error::duplicate(&issuer.child("discoveryURL"), url));
        }
        claim_rules(&one.claim_validation_rules, &path.child("claimValidationRules"), &mut errors);
        mappings(one, &path.child("claimMappings"), &mut errors);
        user_rules(one, &path.child("userValidationRules"), &mut errors);
        for (at, algorithm) in one.signing_algorithms.iter().flatten().enumerate() {
            if !ALGORITHMS.contains(&algorithm.as_str()) {
                errors.push(Error::not_supported(&path.child("signingAlgs").index(at), algorithm, ALGORITHMS));
            }
        }
    }
    errors
}

fn check_issuer(issuer: &Issuer, own_issuers: &[String], path: &Path, errors: &mut ErrorList) {
    let url_path = path.child("url");
    if issuer.url.is_empty() {
        errors.push(Error::required(&url_path, "URL is required"));
    } else if own_issuers.contains(&issuer.url) {
        let detail = format!("URL must not overlap with disallowed issuers: [{}]", own_issuers.join(" "));
        errors.push(Error::invalid(&url_path, &issuer.url, detail));
    } else {
        check_url(&issuer.url, &url_path, errors);
    }
    if let Some(url) = &issuer.discovery_url {
        let path = path.child("discoveryURL");
        if url.is_empty() {
            errors.push(Error::required(&path, "URL is required"));
        } else if url.trim_end_matches('/') == issuer.url.trim_end_matches('/') {
            errors.push(Error::invalid(&path, url, "discoveryURL must be different from URL"));
        } else {
            check_url(url, &path, errors);
        }
    }
    audiences(issuer, path, errors);
    if !issuer.certificate_authority.is_empty()
        && Tls::new(Roots::Pem(issuer.certificate_authority.as_bytes()), None).is_err()
    {
        let detail = "data does not contain any valid RSA or ECDSA certificates";
        errors.push(Error::invalid(&path.child("certificateAuthority"), "<omitted>", detail));
    }
    if !matches!(issuer.egress_selector_type.as_str(), "" | "controlplane" | "cluster") {
        let path = path.child("egressSelectorType");
        errors.push(Error::not_supported(&path, &issuer.egress_selector_type, &["controlplane", "cluster"]));
    }
}

fn check_url(url: &str, path: &Path, errors: &mut ErrorList) {
    let mut wrong = |detail: &str| errors.push(Error::invalid(path, url, detail));
    let Some(rest) = url.strip_prefix("https://") else { return wrong("URL scheme must be https") };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return wrong("URL must not contain a username or password");
    }
    if url.contains('#') {
        return wrong("URL must not contain a fragment");
    }
    if url.contains('?') {
        return wrong("URL must not contain a query");
    }
    if Url::parse(url, None).is_none() {
        wrong("URL cannot be parsed");
    }
}

fn audiences(issuer: &Issuer, path: &Path, errors: &mut ErrorList) {
    let (list, policy) = (path.child("audiences"), path.child("audienceMatchPolicy"));
    if issuer.audiences.is_empty() {
        errors.push(Error::required(&list, format!("at least one {list} is required")));
        return;
    }
    let mut seen = BTreeSet::new();
    for (at, audience) in issuer.audiences.iter().enumerate() {
        if audience.is_empty() {
            errors.push(Error::required(&list.index(at), "audience can't be empty"));
        }
        if !seen.insert(audience) {
            errors.push(Error::duplicate(&list.index(at), audience));
        }
    }
    let given = issuer.audience_match_policy.as_str();
    if issuer.audiences.len() > 1 && given != MATCH_ANY {
        let detail = "audienceMatchPolicy must be MatchAny for multiple audiences";
        errors.push(Error::invalid(&policy, given, detail));
    }
    if issuer.audiences.len() == 1 && !matches!(given, "" | MATCH_ANY) {
        let detail = "audienceMatchPolicy must be empty or MatchAny for single audience";
        errors.push(Error::invalid(&policy, given, detail));
    }
}

fn claim_rules(rules: &[ClaimValidationRule], root: &Path, errors: &mut ErrorList) {
    let (mut claims, mut expressions) = (BTreeSet::new(), BTreeSet::new());
    for (at, rule) in rules.iter().enumerate() {
        let path = root.index(at);
        match (rule.claim.is_empty(), rule.expression.is_empty()) {
            (true, true) => errors.push(Error::required(&path, EITHER)),
            (false, false) => errors.push(Error::invalid(&path, &rule.claim, NOT_BOTH)),
            (true, false) => {
                if !rule.required_value.is_empty() {
                    let detail = "requiredValue can't be set when expression is set";
                    errors.push(Error::invalid(&path.child("requiredValue"), &rule.required_value, detail));
                }
                if !expressions.insert(&rule.expression) {
                    errors.push(Error::duplicate(&path.child("expression"), &rule.expression));
                }
            }
            (false, true) => {
                if !rule.message.is_empty() {
                    let detail = "message can't be set when claim is set";
                    errors.push(Error::invalid(&path.child("message"), &rule.message, detail));
                }
                if !claims.insert(&rule.claim) {
                    errors.push(Error::duplicate(&path.child("claim"), &rule.claim));
                }
            }
        }
    }
}

fn mappings(one: &JwtAuthenticator, path: &Path, errors: &mut ErrorList) {
    let mappings = &one.claim_mappings;
    let username = path.child("username");
    if mappings.username.claim.is_empty() && mappings.username.expression.is_empty() {
        errors.push(Error::required(&username, EITHER));
    }
    prefixed(&mappings.username, &username, errors);
    prefixed(&mappings.groups, &path.child("groups"), errors);
    if !mappings.uid.claim.is_empty() && !mappings.uid.expression.is_empty() {
        errors.push(Error::invalid(&path.child("uid"), "", NOT_BOTH));
    }
    extra(mappings, &path.child("extra"), errors);
    if uses_claim(&mappings.username.expression, "email") {
        let rules = one.claim_validation_rules.iter().map(|rule| &rule.expression);
        let extra = mappings.extra.iter().map(|extra| &extra.value_expression);
        let mut all = rules.chain(extra).chain([&mappings.username.expression]);
        if !all.any(|expression| uses_claim(expression, "email_verified")) {
            let detail = "claims.email_verified must be used in claimMappings.username.expression or \
                          claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email \
                          is used in claimMappings.username.expression";
            errors.push(Error::invalid(&username.child("expression"), &mappings.username.expression, detail));
        }
    }
}

fn prefixed(mapping: &PrefixedMapping, path: &Path, errors: &mut ErrorList) {
    match (mapping.claim.is_empty(), mapping.expression.is_empty()) {
        (false, false) => errors.push(Error::invalid(path, "", NOT_BOTH)),
        (true, false) => {
            if let Some(prefix) = &mapping.prefix {
                errors.push(Error::invalid(&path.child("prefix"), prefix, NO_PREFIX));
            }
        }
        (false, true) if mapping.prefix.is_none() => errors.push(Error::required(&path.child("prefix"), PREFIX)),
        (true, true) => {
            if let Some(prefix) = mapping.prefix.as_ref().filter(|prefix| !prefix.is_empty()) {
                errors.push(Error::invalid(&path.child("prefix"), prefix, "prefix can't be set when claim is not set"));
            }
        }
        (false, true) => {}
    }
}

fn extra(mappings: &ClaimMappings, root: &Path, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for (at, extra) in mappings.extra.iter().enumerate() {
        let path = root.index(at);
        let key = path.child("key");
        if extra.key.is_empty() {
            errors.push(Error::required(&key, "key is required"));
        } else {
            if extra.key != extra.key.to_lowercase() {
                errors.push(Error::invalid(&key, &extra.key, "key must be lowercase"));
            }
            let domain = match extra.key.split_once('/') {
                Some((domain, path)) if !path.is_empty() => domain,
                _ => {
                    let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
                    errors.push(Error::invalid(&key, &extra.key, detail));
                    ""
                }
            };
            if !domain.is_empty() {
                for wrong in machinery::names::is_dns1123_subdomain(domain) {
                    errors.push(Error::invalid(&key, domain, wrong));
                }
            }
            if ["k8s.io", "kubernetes.io"].iter().any(|own| domain == *own || domain.ends_with(&format!(".{own}"))) {
                let detail = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
                errors.push(Error::invalid(&key, &extra.key, detail));
            }
            if !seen.insert(&extra.key) {
                errors.push(Error::duplicate(&key, &extra.key));
            }
        }
        if extra.value_expression.is_empty() {
            errors.push(Error::required(&path.child("valueExpression"), "valueExpression is required"));
        }
    }
}

fn user_rules(one: &JwtAuthenticator, root: &Path, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for (at, rule) in one.user_validation_rules.iter().enumerate() {
        let rule_path = root.index(at);
        let path = rule_path.child("expression");
        if rule.expression.is_empty() {
            errors.push(Error::required(&path, "expression is required"));
        } else if !seen.insert(&rule.expression) {
            errors.push(Error::duplicate(&path, &rule.expression));
        }
    }
}

/// Whether an expression reads `claims.NAME`, in any of its spellings. Text that only looks like it counts too.
fn uses_claim(expression: &str, name: &str) -> bool {
    static READS: OnceLock<Option<Regex>> = OnceLock::new();
    let pattern = r#"claims\s*(?:\.\s*\??\s*(\w+)|\[\s*\??\s*["']([^"']*)["']\s*\])"#;
    let Some(reads) = READS.get_or_init(|| Regex::new(pattern).ok()) else { return true };
    reads.captures_iter(expression).any(|found| found.get(1).or(found.get(2)).is_some_and(|one| one.as_str() == name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refusals(jwt: Value) -> Vec<String> {
        let all: Vec<JwtAuthenticator> = serde_json::from_value(jwt).unwrap();
        issuers(&all, &["https://own".to_owned()]).iter().map(ToString::to_string).collect()
    }

    fn good() -> Value {
        json!({"issuer": {"url": "https://i", "audiences": ["a"]}, "claimMappings": {"username": {"claim": "sub", "prefix": ""}}})
    }

    #[test]
    fn issuers_need_an_https_url_of_their_own_and_audiences() {
        assert_eq!(refusals(json!([good()])), Vec::<String>::new());
        assert_eq!(refusals(json!([good(), good()])), ["jwt[1].issuer.url: Duplicate value: \"https://i\""]);
        let issuer = |url: &str| {
            let mut one = good();
            one["issuer"]["url"] = url.into();
            refusals(json!([one])).join("; ")
        };
        assert_eq!(issuer(""), "jwt[0].issuer.url: Required value: URL is required");
        assert_eq!(issuer("http://i"), "jwt[0].issuer.url: Invalid value: \"http://i\": URL scheme must be https");
        assert!(issuer("https://u@i").contains("URL must not contain a username or password"));
        assert!(issuer("https://i?q").contains("URL must not contain a query"));
        assert!(issuer("https://i#f").contains("URL must not contain a fragment"));
        assert!(issuer("https://own").contains("URL must not overlap with disallowed issuers: [https://own]"));
        let mut many = good();
        many["issuer"]["audiences"] = json!(["a", "b"]);
        assert!(refusals(json!([many]))[0].contains("audienceMatchPolicy must be MatchAny for multiple audiences"));
        many["issuer"]["audienceMatchPolicy"] = "MatchAny".into();
        assert_eq!(refusals(json!([many])), Vec::<String>::new());
        many["issuer"] = json!({"url": "https://i", "discoveryURL": "https://i/", "certificateAuthority": "x"});
        assert_eq!(
            refusals(json!([many])),
            [
                "jwt[0].issuer.discoveryURL: Invalid value: \"https://i/\": discoveryURL must be different from URL",
                "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required",
                "jwt[0].issuer.certificateAuthority: Invalid value: \"<omitted>\": data does not contain any valid RSA or ECDSA certificates",
            ]
        );
    }

    #[test]
    fn mappings_are_claims_or_expressions() {
        let with = |mappings: Value| {
            let mut one = good();
            one["claimMappings"] = mappings;
            refusals(json!([one])).join("; ")
        };
        assert_eq!(with(json!({})), "jwt[0].claimMappings.username: Required value: claim or expression is required");
        assert!(with(json!({"username": {"claim": "sub"}})).contains("prefix is required when claim is set"));
        assert!(
            with(json!({"username": {"claim": "sub", "prefix": "", "expression": "claims.sub"}})).contains(NOT_BOTH)
        );
        assert!(
            with(json!({"username": {"expression": "claims.email"}})).contains("claims.email_verified must be used")
        );
        assert_eq!(with(json!({"username": {"expression": "claims['email_verified'] ? claims.email : ''"}})), "");
        let extra = |key: &str| {
            with(
                json!({"username": {"expression": "claims.sub"}, "extra": [{"key": key, "valueExpression": "claims.x"}]}),
            )
        };
        assert_eq!(extra("e.com/x"), "");
        assert!(extra("E.com/x").contains("key must be lowercase"));
        assert!(extra("x").contains("must be a domain-prefixed path"));
        assert!(extra("a.k8s.io/x").contains("reserved for Kubernetes use"));
    }

    #[test]
    fn rules_are_claims_or_expressions_each_once() {
        let mut one = good();
        one["claimValidationRules"] = json!([{}, {"claim": "a", "expression": "b"}, {"claim": "c", "message": "m"},
            {"claim": "c", "requiredValue": "v"}, {"expression": "e", "requiredValue": "v"}]);
        one["userValidationRules"] = json!([{}, {"expression": "e"}, {"expression": "e"}]);
        assert_eq!(
            refusals(json!([one])),
            [
                "jwt[0].claimValidationRules[0]: Required value: claim or expression is required",
                "jwt[0].claimValidationRules[1]: Invalid value: \"a\": claim and expression can't both be set",
                "jwt[0].claimValidationRules[2].message: Invalid value: \"m\": message can't be set when claim is set",
                "jwt[0].claimValidationRules[3].claim: Duplicate value: \"c\"",
                "jwt[0].claimValidationRules[4].requiredValue: Invalid value: \"v\": requiredValue can't be set when expression is set",
                "jwt[0].userValidationRules[0].expression: Required value: expression is required",
                "jwt[0].userValidationRules[2].expression: Duplicate value: \"e\"",
            ]
        );
    }
}
