//! How many seats a request takes: lists take more the more objects they go through.

use std::sync::Arc;

use crate::registry::keys;
use crate::request_info::query_value;
use crate::{RequestInfo, Server};

const OBJECTS_PER_SEAT: usize = 100;
const SEATS_MAX: usize = 10;

/// The seats of a request with this query.
pub fn width(server: &Arc<Server>, info: &RequestInfo, query: &str) -> usize {
    let lists = info.is_resource
        && (info.verb == "list"
            || (info.verb == "watch" && query_value(query, "sendInitialEvents").as_deref() == Some("true")));
    if !lists {
        return 1;
    }
    let kinds = server.registry.kinds();
    let Some((kind, _)) = kinds.find(&info.api_group, &info.api_version, &info.resource) else { return 1 };
    let stored = server.registry.store().snapshot().count(&keys::namespace_prefix(kind, &info.namespace));
    let page = query_value(query, "limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0);
    // What a selector leaves out has to be looked at all the same, so only the page bounds it.
    seats(stored.min(page.unwrap_or(usize::MAX)))
}

fn seats(objects: usize) -> usize {
    objects.div_ceil(OBJECTS_PER_SEAT).clamp(1, SEATS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_as_wide_as_what_they_go_through() {
        for (objects, wanted) in [(0, 1), (100, 1), (101, 2), (999, 10), (100_000, 10)] {
            assert_eq!(seats(objects), wanted, "{objects}");
        }
    }
}
