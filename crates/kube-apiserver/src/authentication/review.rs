//! TokenReview (is this token good, and whose is it?) and SelfSubjectReview (who am I?).

use jiff::Timestamp;
use machinery::status::Status;
use serde_json::{Map, Value, json};

use super::{Authenticator, TokenError};
use crate::{Server, UserInfo};

/// Answers a review of `kind` (TokenReview or SelfSubjectReview) asked by `user`: the object with its status.
pub async fn review(server: &Server, kind: &str, user: &UserInfo, object: Value) -> Result<Value, Status> {
    match kind {
        "TokenReview" => token_review(&server.authenticator, object, Timestamp::now()).await,
        "SelfSubjectReview" => Ok(self_review(user, object, Timestamp::now())),
        _ => Err(Status::not_found_path()),
    }
}

/// Is the token good, and whose is it?
pub async fn token_review(authenticator: &Authenticator, mut object: Value, now: Timestamp) -> Result<Value, Status> {
    let token = object.pointer("/spec/token").and_then(Value::as_str).unwrap_or_default();
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let audiences: Vec<String> = object
        .pointer("/spec/audiences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let status = match authenticator.token(token, &audiences, now).await {
        Ok(verified) => json!({
            "authenticated": true,
            "user": user_info_value(&verified.user),
            "audiences": verified.audiences,
        }),
        Err(error @ TokenError::NotOurs) => json!({"user": {}, "error": error.to_string()}),
        Err(error) => json!({"user": {}, "error": format!("[{}, {error}]", TokenError::NotOurs)}),
    };
    object["status"] = status;
    Ok(object)
}

/// Answers a SelfSubjectReview. Its metadata is the server's: only the time of the answer.
pub fn self_review(user: &UserInfo, mut object: Value, now: Timestamp) -> Value {
    object["metadata"] = json!({"creationTimestamp": machinery::time::format_rfc3339_seconds(now)});
    object["status"] = json!({"userInfo": user_info_value(user)});
    object
}

/// The API's form of a user: authentication/v1 UserInfo.
pub fn user_info_value(user: &UserInfo) -> Value {
    let mut value = Map::new();
    value.insert("username".to_owned(), user.name.clone().into());
    if let Some(uid) = &user.uid {
        value.insert("uid".to_owned(), uid.clone().into());
    }
    if !user.groups.is_empty() {
        value.insert("groups".to_owned(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        value.insert("extra".to_owned(), json!(user.extra));
    }
    Value::Object(value)
}
