//! The bugs that etcd's robustness suite has recorded (the table in its `tests/robustness/README.md`), each as a test of this
//! store: what must not happen there must not happen here, and where the bug is in etcd itself and this store its client, must
//! not be believed. `docs/robustness.md` has the table of all of them.

mod crashes;
mod feed;
mod real;
mod rig;
mod watches;
