//! storage.k8s.io: where volumes come from.

pub mod storage_class;
