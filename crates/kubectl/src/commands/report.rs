//! How commands that write say what they did: `pod/a created`, or the object by `-o`.

use std::cell::Cell;

use clap::ArgMatches;
use serde_json::Value;

use crate::api::Query;
use crate::context::Context;
use crate::error::Result;
use crate::flags::{DryRun, Flags};
use crate::printers::{Format, Print, label};

pub struct Report<'c> {
    context: &'c Context,
    format: Format,
    options: Print,
    pub dry_run: DryRun,
    manager: String,
    printed: Cell<usize>,
}

impl<'c> Report<'c> {
    pub fn new(context: &'c Context, matches: &ArgMatches, manager: &str) -> Result<Self> {
        Ok(Report {
            context,
            format: Format::of(matches)?,
            options: Print { managed_fields: matches.on("show-managed-fields"), ..Print::default() },
            dry_run: DryRun::of(matches)?,
            manager: matches.text("field-manager").unwrap_or(manager).to_owned(),
            printed: Cell::new(0),
        })
    }

    /// The options of a write as its query.
    pub fn query(&self, path: impl Into<String>) -> Query {
        let query = Query::new(path);
        let query = if self.dry_run == DryRun::Server { query.add("dryRun", "All") } else { query };
        query.add("fieldManager", &self.manager)
    }

    pub fn says_nothing_itself(&self) -> bool {
        !self.format.is_human()
    }

    /// Says what was done to an object.
    pub fn done(&self, object: &Value, what: &str) -> Result<()> {
        self.done_as(object, &label(object), what)
    }

    /// The same for an object that is named otherwise.
    pub fn done_as(&self, object: &Value, label: &str, what: &str) -> Result<()> {
        let console = &self.context.console;
        match &self.format {
            Format::Human | Format::Wide => console.line(&format!("{label} {what}{}", self.dry_run.suffix())),
            Format::Name => console.line(label),
            format => {
                if matches!(format, Format::Yaml) && self.printed.replace(self.printed.get() + 1) > 0 {
                    console.line("---");
                }
                console.text(&format.print(object, self.options)?);
            }
        }
        Ok(())
    }

    /// The same for an object that kubectl made itself: JSON keeps the order of its making.
    pub fn made(&self, object: &Value, what: &str) -> Result<()> {
        match &self.format {
            Format::Json => {
                let options = Print { keep_order: self.dry_run == DryRun::Client, ..self.options };
                self.context.console.text(&self.format.print(object, options)?);
                Ok(())
            }
            _ => self.done(object, what),
        }
    }
}
