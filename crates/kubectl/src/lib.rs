//! A drop-in `kubectl`: the command line client of the Kubernetes API.
//!
//! It knows no server and no kind by heart: resources come from discovery, tables from the server, and only `describe`,
//! `create KIND` and the workload commands (`rollout`, `scale`, `logs`, ...) know the shape of the kinds they are about.
//! Read in this order: `commands.rs` (the list), `context.rs` (what a command is given), then a command.

pub mod commands;
pub mod context;
pub mod error;

mod console;
mod flags;
mod kubeconfig;

mod api;
mod discovery;
mod documents;
mod past;
mod selection;

mod describe;
mod diff;
mod generate;
mod merge;
mod printers;
mod rules;
mod stream;
mod value;

#[cfg(test)]
mod fake;

use std::ffi::OsString;
use std::process::ExitCode;

use console::Console;
use context::Context;

/// Runs kubectl; `args[0]` is the program's name.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let console = Console::standard();
    let matches = match commands::parse(&args) {
        Ok(matches) => matches,
        Err(message) => return message.show(&console),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            console.error_line(&format!("error: failed to start the runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        let context = Context::new(console, &matches);
        match commands::run(&context, &matches).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error.show(&context.console),
        }
    });
    // A thread that still reads standard input must not keep the process.
    runtime.shutdown_background();
    code
}
