//! `/canopus/store/migration`: the objects of a server in use move to an etcd, or back to files.
//!
//! A POST begins it and is answered at once; a GET tells how far it is. Who may do this may do everything: the paths are of no
//! resource, and no default role but `cluster-admin` has them.

use std::sync::Arc;

use http::{Method, StatusCode};
use machinery::status::Status;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::migration::{Migration, MigrationError, Moved, Progress};
use crate::etcd::Etcd;
use crate::{Body, Response, Server, body};

/// Where it is asked for.
pub const PATH: &str = "/canopus/store/migration";
const BODY_BYTES_MAX: usize = 64 << 10;

/// Where the objects are to be kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Move {
    Etcd(Etcd),
    Embedded,
}

/// The move that was asked for last.
#[derive(Default)]
pub struct Moving(Mutex<Option<Progress>>);

impl Moving {
    fn tell(&self, progress: Progress) {
        tracing::info!(?progress, "moving the objects");
        *self.0.lock() = Some(progress);
    }

    /// False if one is under way.
    fn begin(&self) -> bool {
        let mut progress = self.0.lock();
        let is_free = matches!(*progress, None | Some(Progress::Moved { .. } | Progress::Failed { .. }));
        if is_free {
            *progress = Some(Progress::Opening);
        }
        is_free
    }
}

pub async fn serve(server: &Arc<Server>, request: http::Request<Body>) -> Response {
    match *request.method() {
        Method::GET => tell(&server.moving),
        Method::POST => match begin(server, request.into_body()).await {
            Ok(()) => tell(&server.moving),
            Err(status) => body::status(&status),
        },
        _ => body::status(&Status::method_not_allowed()),
    }
}

fn tell(moving: &Moving) -> Response {
    let text = serde_json::to_string(&*moving.0.lock()).unwrap_or_default();
    body::json_bytes(StatusCode::OK, text)
}

async fn begin(server: &Arc<Server>, body: Body) -> Result<(), Status> {
    let bytes =
        body::read_at_most(body, BODY_BYTES_MAX).await.map_err(|error| Status::bad_request(error.to_string()))?;
    let to: Move = serde_json::from_slice(&bytes).map_err(|error| Status::bad_request(error.to_string()))?;
    let is_shared = server.registry.store().is_shared();
    match to {
        Move::Etcd(_) if is_shared => return Err(Status::bad_request("the objects are in an etcd already")),
        Move::Embedded if !is_shared => return Err(Status::bad_request("the objects are in files already")),
        _ if server.config.store_dir.is_none() => {
            return Err(Status::bad_request("this server has no folder for a store"));
        }
        _ => {}
    }
    if !server.moving.begin() {
        return Err(Status::bad_request("a move is under way already"));
    }
    let server = server.clone();
    tokio::spawn(async move {
        if let Err(error) = run(&server, to).await {
            server.moving.tell(Progress::Failed { reason: store::chain(&error) });
        }
    });
    Ok(())
}

async fn run(server: &Server, to: Move) -> Result<Moved, MigrationError> {
    let (registry, config) = (&server.registry, &server.config);
    let folder = config.store_dir.clone().unwrap_or_default();
    let is_back = matches!(to, Move::Embedded);
    let settings = match (to, &config.etcd) {
        (Move::Etcd(settings), _) => settings,
        (Move::Embedded, Some(settings)) => settings.clone(),
        (Move::Embedded, None) => super::moved_to(&folder)?.unwrap_or_else(|| Etcd::new(Vec::new())),
    };
    let migration = Migration {
        store: registry.store(),
        folder: &folder,
        settings: &settings,
        config,
        encryption: server.encryption.clone(),
        tell: &|progress| server.moving.tell(progress),
    };
    if is_back { migration.to_files().await } else { migration.to_etcd().await }
}
