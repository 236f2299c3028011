//! What can go wrong, and how kubectl says it.
//!
//! An answer of the server keeps its Status, because commands look at reasons (`NotFound` with `--ignore-not-found`) and
//! because its printed form depends on the reason.

use std::process::ExitCode;

use serde_json::Value;

use crate::console::Console;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with a failure.
    #[error("{}", .0.message)]
    Status(Box<Status>),
    /// Nobody listens where the server should be.
    #[error("The connection to the server {0} was refused - did you specify the right host or port?")]
    Refused(String),
    /// The server could not be talked to.
    #[error("Unable to connect to the server: {0}")]
    Connection(String),
    /// Printed behind `error: `.
    #[error("{0}")]
    Message(String),
    /// Printed as it is.
    #[error("{0}")]
    Plain(String),
    /// Several failures of one command, each printed on its own line.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Many(Vec<Error>),
    /// Everything has been said; only the exit code is left.
    #[error("exit status {0}")]
    Exit(u8),
}

/// The part of an API Status that a client looks at.
#[derive(Debug, Clone, Default)]
pub struct Status {
    pub code: u16,
    pub reason: String,
    pub message: String,
    pub details: Value,
}

impl Status {
    /// Reads a failure's body; a body that is no Status gets the words that Go's client has for the code.
    pub fn from_body(code: u16, body: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        if value["kind"] == "Status" {
            let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
            return Status {
                code,
                reason: text("reason"),
                message: text("message"),
                details: value["details"].clone(),
            };
        }
        let text = String::from_utf8_lossy(body);
        let (reason, message) = match code {
            401 => ("Unauthorized", "the server has asked for the client to provide credentials"),
            403 => ("Forbidden", "unknown"),
            404 => ("NotFound", "the server could not find the requested resource"),
            405 => ("MethodNotAllowed", "the server does not allow this method on the requested resource"),
            406 => ("NotAcceptable", "the server was unable to respond with a content type that the client supports"),
            413 => ("RequestEntityTooLarge", "the request is too large"),
            415 => (
                "UnsupportedMediaType",
                "the server was unable to respond with a content type that the client supports",
            ),
            429 => ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
            503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
            504 => ("Timeout", "the server was unable to return a response in the time allotted"),
            500.. => ("InternalError", "an error on the server"),
            _ => ("", "the server rejected our request for an unknown reason"),
        };
        let message = match (code, text.trim()) {
            (500 | 502, text) if !text.is_empty() => {
                format!("{message} ({text:?}) has prevented the request from succeeding")
            }
            (400, text) if !text.is_empty() => text.to_owned(),
            _ => message.to_owned(),
        };
        Status { code, reason: reason.to_owned(), message, details: Value::Null }
    }
}

impl Error {
    pub fn message(text: impl Into<String>) -> Self {
        Error::Message(text.into())
    }

    /// A wrong use of a command: the text, then where its help is.
    pub fn usage(command: &str, text: impl Into<String>) -> Self {
        Error::Plain(format!("error: {}\nSee 'kubectl {command} -h' for help and examples", text.into()))
    }

    pub fn is_reason(&self, reason: &str) -> bool {
        matches!(self, Error::Status(status) if status.reason == reason)
    }

    pub fn is_not_found(&self) -> bool {
        self.is_reason("NotFound")
    }

    /// Says what was being done to which file: `error when creating "pod.yaml": ...`.
    pub fn when(self, verb: &str, source: &str) -> Self {
        if source.is_empty() {
            return self;
        }
        match self {
            Error::Status(mut status) => {
                status.message = format!("error when {verb} \"{source}\": {}", status.message);
                Error::Status(status)
            }
            Error::Message(text) => Error::Message(format!("error when {verb} \"{source}\": {text}")),
            other => other,
        }
    }

    /// Nothing, the one error, or all of them.
    pub fn collect(mut errors: Vec<Error>) -> Result<()> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Error::Many(errors)),
        }
    }

    /// The text that goes to standard error.
    pub fn text(&self) -> String {
        match self {
            Error::Status(status) => status_text(status),
            Error::Message(text) => format!("error: {text}"),
            Error::Refused(_) | Error::Connection(_) | Error::Plain(_) => self.to_string(),
            Error::Many(errors) => errors.iter().map(Error::line).collect::<Vec<_>>().join("\n"),
            Error::Exit(_) => String::new(),
        }
    }

    /// One error among several: never in the long form of invalid objects.
    fn line(&self) -> String {
        match self {
            Error::Status(status) => plain_status_text(status),
            other => other.text(),
        }
    }

    pub fn show(&self, console: &Console) -> ExitCode {
        let text = crate::console::harmless(&self.text());
        if !text.is_empty() {
            console.error_line(&text);
        }
        match self {
            Error::Exit(code) => ExitCode::from(*code),
            _ => ExitCode::FAILURE,
        }
    }
}

fn plain_status_text(status: &Status) -> String {
    match status.reason.as_str() {
        "Unauthorized" => format!("error: You must be logged in to the server ({})", status.message),
        "" => format!("Error from server: {}", status.message),
        reason => format!("Error from server ({reason}): {}", status.message),
    }
}

fn status_text(status: &Status) -> String {
    if status.reason != "Invalid" {
        return plain_status_text(status);
    }
    let (kind, name) = (status.details["kind"].as_str().unwrap_or(""), status.details["name"].as_str().unwrap_or(""));
    let causes: Vec<String> = status.details["causes"].as_array().map_or_else(Vec::new, |causes| {
        let mut lines: Vec<String> = Vec::new();
        for cause in causes {
            let line =
                format!("{}: {}", cause["field"].as_str().unwrap_or(""), cause["message"].as_str().unwrap_or(""));
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines
    });
    let head = if kind.is_empty() && name.is_empty() {
        "The request is invalid".to_owned()
    } else {
        format!("The {kind} {} is invalid", machinery::go_text::quote(name))
    };
    match causes.as_slice() {
        [] if kind.is_empty() && name.is_empty() && !status.message.is_empty() => format!("{head}: {}", status.message),
        [] => head,
        [one] => format!("{head}: {one}"),
        many => format!("{head}: \n{}", many.iter().map(|cause| format!("* {cause}")).collect::<Vec<_>>().join("\n")),
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error::Message(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(json: Value) -> Error {
        Error::Status(Box::new(Status::from_body(422, json.to_string().as_bytes())))
    }

    #[test]
    fn failures_are_worded_by_their_reason() {
        let not_found = serde_json::json!({"kind":"Status","reason":"NotFound","message":"pods \"x\" not found"});
        assert_eq!(status(not_found).text(), "Error from server (NotFound): pods \"x\" not found");
        let who = serde_json::json!({"kind":"Status","reason":"Unauthorized","message":"Unauthorized"});
        assert_eq!(status(who).text(), "error: You must be logged in to the server (Unauthorized)");
        let invalid = serde_json::json!({"kind":"Status","reason":"Invalid","message":"m","details":{"kind":"Pod","name":"p",
            "causes":[{"field":"spec.a","message":"Required value"}]}});
        assert_eq!(status(invalid).text(), "The Pod \"p\" is invalid: spec.a: Required value");
        let forbidden = serde_json::json!({"kind":"Status","reason":"Forbidden","message":"no"});
        assert_eq!(
            status(forbidden).when("creating", "p.yaml").text(),
            "Error from server (Forbidden): error when creating \"p.yaml\": no"
        );
    }
}
