//! Tokens from a file (`--token-auth-file`): lines of `token,user,uid,"group1,group2"`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::UserInfo;

/// Tokens are kept as hashes, so that a lookup tells nothing about them by the time it takes.
pub struct StaticTokens(HashMap<[u8; 32], UserInfo>);

#[derive(Debug, thiserror::Error)]
pub enum StaticTokenError {
    #[error("failed to read the token file {0}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("token file {file}, line {line}: {reason}")]
    Line { file: PathBuf, line: usize, reason: &'static str },
}

impl StaticTokens {
    pub fn open(path: &Path) -> Result<Self, StaticTokenError> {
        let text = std::fs::read_to_string(path).map_err(|error| StaticTokenError::Read(path.to_owned(), error))?;
        Self::parse(&text).map_err(|(line, reason)| StaticTokenError::Line { file: path.to_owned(), line, reason })
    }

    fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut tokens = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let columns = columns(line).ok_or((number + 1, "a quote is not closed"))?;
            let [token, name, uid, rest @ ..] = &columns[..] else {
                return Err((number + 1, "a token, a user and a uid are needed"));
            };
            if token.is_empty() {
                return Err((number + 1, "the token is empty"));
            }
            let groups = rest.first().into_iter().flat_map(|groups| groups.split(','));
            let mut user = UserInfo::new(name, groups.map(str::trim).filter(|group| !group.is_empty()));
            user.uid = Some(uid.clone()).filter(|uid| !uid.is_empty());
            tokens.insert(Sha256::digest(token).into(), user);
        }
        Ok(Self(tokens))
    }

    pub fn find(&self, token: &str) -> Option<UserInfo> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        self.0.get(&hash).cloned()
    }
}

/// The columns of a line; a column in quotes may hold commas, and a quote in it is doubled.
fn columns(line: &str) -> Option<Vec<String>> {
    let (mut columns, mut column, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                column.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => columns.push(std::mem::take(&mut column).trim().to_owned()),
            c => column.push(c),
        }
    }
    columns.push(column.trim().to_owned());
    (!quoted).then_some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_give_users_with_groups() {
        let tokens = StaticTokens::parse("# admins\nt1, admin , u1,\"system:masters, dev\"\nt2,bob,\n").unwrap();
        let admin = tokens.find("t1").unwrap();
        assert_eq!((admin.name.as_str(), admin.uid.as_deref()), ("admin", Some("u1")));
        assert_eq!(admin.groups, ["system:masters", "dev"]);
        assert_eq!(tokens.find("t2").unwrap(), UserInfo::new("bob", [""; 0]));
        assert!(tokens.find("t").is_none() && tokens.find("").is_none());
    }

    #[test]
    fn broken_lines_are_named() {
        assert_eq!(StaticTokens::parse("a,b,c\nx,y").err(), Some((2, "a token, a user and a uid are needed")));
        assert_eq!(StaticTokens::parse("a,b,c,\"d").err(), Some((1, "a quote is not closed")));
        assert_eq!(StaticTokens::parse(",b,c").err(), Some((1, "the token is empty")));
    }
}
