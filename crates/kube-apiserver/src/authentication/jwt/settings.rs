//! What an AuthenticationConfiguration says of tokens that others issue, and what the `--oidc-*` flags say in its words.

use serde::Deserialize;

/// One issuer and what its tokens mean here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct JwtAuthenticator {
    pub issuer: Issuer,
    pub claim_validation_rules: Vec<ClaimValidationRule>,
    pub claim_mappings: ClaimMappings,
    pub user_validation_rules: Vec<UserValidationRule>,
    /// Which signatures are taken; only the flags can say it.
    #[serde(skip)]
    pub signing_algorithms: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Issuer {
    pub url: String,
    #[serde(rename = "discoveryURL")]
    pub discovery_url: Option<String>,
    /// PEM; the machine's authorities without it.
    pub certificate_authority: String,
    pub audiences: Vec<String>,
    pub audience_match_policy: String,
    pub egress_selector_type: String,
}

/// A claim must have a value, or an expression must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClaimValidationRule {
    pub claim: String,
    pub required_value: String,
    pub expression: String,
    pub message: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClaimMappings {
    pub username: PrefixedMapping,
    pub groups: PrefixedMapping,
    pub uid: Mapping,
    pub extra: Vec<ExtraMapping>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PrefixedMapping {
    pub claim: String,
    pub prefix: Option<String>,
    pub expression: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Mapping {
    pub claim: String,
    pub expression: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExtraMapping {
    pub key: String,
    pub value_expression: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UserValidationRule {
    pub expression: String,
    pub message: String,
}

/// The `--oidc-*` flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OidcFlags {
    pub issuer_url: String,
    pub client_id: String,
    /// PEM.
    pub ca: String,
    pub username_claim: String,
    pub username_prefix: String,
    pub groups_claim: String,
    pub groups_prefix: String,
    pub signing_algs: Vec<String>,
    pub required_claims: Vec<(String, String)>,
}

impl OidcFlags {
    /// The same as an entry of the file.
    pub fn to_authenticator(&self) -> JwtAuthenticator {
        let username_prefix = match self.username_prefix.as_str() {
            "-" => String::new(),
            // Names of different issuers shall not mix; addresses speak for themselves.
            "" if self.username_claim != "email" => format!("{}#", self.issuer_url),
            given => given.to_owned(),
        };
        let groups = PrefixedMapping {
            claim: self.groups_claim.clone(),
            prefix: (!self.groups_claim.is_empty()).then(|| self.groups_prefix.clone()),
            expression: String::new(),
        };
        let rule = |(claim, value): &(String, String)| ClaimValidationRule {
            claim: claim.clone(),
            required_value: value.clone(),
            ..ClaimValidationRule::default()
        };
        JwtAuthenticator {
            issuer: Issuer {
                url: self.issuer_url.clone(),
                certificate_authority: self.ca.clone(),
                audiences: vec![self.client_id.clone()],
                ..Issuer::default()
            },
            claim_validation_rules: self.required_claims.iter().map(rule).collect(),
            claim_mappings: ClaimMappings {
                username: PrefixedMapping {
                    claim: self.username_claim.clone(),
                    prefix: Some(username_prefix),
                    expression: String::new(),
                },
                groups,
                ..ClaimMappings::default()
            },
            user_validation_rules: Vec::new(),
            signing_algorithms: Some(self.signing_algs.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_the_issuer_as_prefix_unless_told_otherwise() {
        let prefix = |claim: &str, prefix: &str| {
            let flags = OidcFlags {
                issuer_url: "https://i".to_owned(),
                username_claim: claim.to_owned(),
                username_prefix: prefix.to_owned(),
                ..OidcFlags::default()
            };
            flags.to_authenticator().claim_mappings.username.prefix.unwrap_or_default()
        };
        assert_eq!(prefix("sub", ""), "https://i#");
        assert_eq!(prefix("email", ""), "");
        assert_eq!(prefix("sub", "-"), "");
        assert_eq!(prefix("sub", "oidc:"), "oidc:");
    }
}
