//! Container logs: the format that runtimes write, reading it for clients, and keeping it from growing.

pub mod parser;
pub mod reader;
pub mod rotate;
