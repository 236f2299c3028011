//! Asking the mutating plugins a second time.
//!
//! When a later webhook or policy changed an object, what an earlier plugin made of it may no longer hold. The whole
//! mutating phase then runs once more, and only once: it cannot go on for ever. In the second round a webhook or policy is
//! asked again only if it wants that (`reinvocationPolicy: IfNeeded`) and something changed after it.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;
use serde_json::Value;

/// Shared by the plugins of one request.
#[derive(Default)]
pub struct Reinvocation(Mutex<State>);

#[derive(Default)]
struct State {
    second: bool,
    wanted: bool,
    plugins: HashMap<&'static str, Plugin>,
}

#[derive(Default)]
struct Plugin {
    /// Asked already, and to be asked again when something changes.
    asked: BTreeSet<String>,
    /// To be asked again.
    again: BTreeSet<String>,
    /// The object as the plugin left it.
    left: Option<Value>,
}

impl Plugin {
    fn require(&mut self) {
        self.again.append(&mut self.asked);
    }
}

impl Reinvocation {
    /// Begins the second round, if one is wanted.
    pub(super) fn begin_second(&self) -> bool {
        let mut state = self.0.lock();
        state.second = state.wanted;
        state.wanted
    }

    /// A plugin begins: what changed in between since its first turn counts as a change after all that it asked.
    pub fn begin(&self, plugin: &'static str, object: &Value) {
        let mut state = self.0.lock();
        let second = state.second;
        let own = state.plugins.entry(plugin).or_default();
        if second && own.left.as_ref().is_some_and(|left| left != object) {
            own.require();
        }
    }

    /// A plugin is done.
    pub fn end(&self, plugin: &'static str, object: &Value) {
        self.0.lock().plugins.entry(plugin).or_default().left = Some(object.clone());
    }

    /// Whether this one is to be asked in this round.
    pub fn should_ask(&self, plugin: &'static str, id: &str) -> bool {
        let state = self.0.lock();
        !state.second || state.plugins.get(plugin).is_some_and(|own| own.again.contains(id))
    }

    /// This one changed the object.
    pub fn changed(&self, plugin: &'static str) {
        let mut state = self.0.lock();
        state.plugins.entry(plugin).or_default().require();
        state.wanted = true;
    }

    /// This one was asked, and wants to be asked again if something changes after it.
    pub fn asked(&self, plugin: &'static str, id: &str) {
        self.0.lock().plugins.entry(plugin).or_default().asked.insert(id.to_owned());
    }

    /// 0 or 1.
    pub fn round(&self) -> u8 {
        u8::from(self.0.lock().second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const P: &str = "P";

    #[test]
    fn who_was_asked_before_a_change_is_asked_once_more() {
        let rounds = Reinvocation::default();
        rounds.begin(P, &json!(0));
        assert!(rounds.should_ask(P, "a"));
        rounds.asked(P, "a");
        rounds.changed(P);
        rounds.asked(P, "b");
        rounds.end(P, &json!(1));
        assert!(rounds.begin_second());
        rounds.begin(P, &json!(1));
        assert!(rounds.should_ask(P, "a"));
        assert!(!rounds.should_ask(P, "b"), "nothing changed after it");
        assert!(!rounds.should_ask(P, "c"), "it does not want to");
    }

    #[test]
    fn what_other_plugins_changed_in_between_counts_for_all() {
        let rounds = Reinvocation::default();
        rounds.begin(P, &json!(0));
        rounds.changed(P);
        rounds.asked(P, "a");
        rounds.end(P, &json!(1));
        assert!(rounds.begin_second());
        rounds.begin(P, &json!(2));
        assert!(rounds.should_ask(P, "a"));
    }

    #[test]
    fn nothing_changed_means_no_second_round() {
        let rounds = Reinvocation::default();
        rounds.begin(P, &json!(0));
        rounds.asked(P, "a");
        assert!(!rounds.begin_second());
    }
}
