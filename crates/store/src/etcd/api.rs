//! etcd's messages and calls, generated from `proto/etcd.proto`.

#![expect(clippy::all, clippy::pedantic, reason = "generated from the protocol")]

tonic::include_proto!("etcdserverpb");
