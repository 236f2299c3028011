//! Against servers of the test's own, on loopback, that stand where aggregated servers would.

mod attacks;
mod discovery;
mod proxying;
mod services;
mod world;
