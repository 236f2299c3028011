//! The one integration-test binary: real clusters with real containers, each in network namespaces of its own, driven by
//! unmodified clients. Needs root and what `make test-packages` installs.

mod harness;
mod session;
mod clients;
mod lifecycle;
mod scheduling;
mod storage;
mod resilience;
mod full_disk;
mod process_life;
mod backups;
mod history;
mod bad_input;
mod arrangements;
mod components;
mod etcd;
mod recordings;
