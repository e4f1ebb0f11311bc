//! `/fault` (ours): set, list and heal faults on purpose. Whoever reaches this node over HTTP may break it, as they may
//! kill it.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, Uri},
};
use p2pnet_shared::{
    api::FaultsReply,
    fault::{Fault, NodeSet},
};

use super::{ApiError, Surface, body::Fields};
use crate::runtime::{command::Command, faults::FaultOrder};

const HINT: &str = r#"send for example {"loss":{"percent":30}}, {"delay":{"ms":100,"jitter_ms":30}} or {"cut":{"from":"1-3","to":"4-6"}}"#;

pub(super) async fn list(State(surface): State<Surface>) -> Result<Json<FaultsReply>, ApiError> {
    order(&surface, FaultOrder::List).await
}

pub(super) async fn set(State(surface): State<Surface>, fields: Fields) -> Result<Json<FaultsReply>, ApiError> {
    let fault: Fault = fields.whole(HINT)?;
    order(&surface, FaultOrder::Set(fault)).await
}

/// All of them, or with `?peers=1-3,7` those towards some peers.
pub(super) async fn heal(State(surface): State<Surface>, uri: Uri) -> Result<Json<FaultsReply>, ApiError> {
    let parameters = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let mut wanted = FaultOrder::Heal;
    for pair in parameters {
        let Some(("peers", peers)) = pair.split_once('=') else {
            return Err(ApiError::bad("DELETE /fault takes `?peers=1-3,7` or nothing"));
        };
        let peers: NodeSet = peers.parse().map_err(|error| ApiError::bad(format!("`peers`: {error}")))?;
        if peers.is_empty() {
            return Err(ApiError::bad("`peers` is empty; name nodes like `1-3,7`, or leave it out to heal all"));
        }
        wanted = FaultOrder::Spare(peers);
    }
    order(&surface, wanted).await
}

async fn order(surface: &Surface, order: FaultOrder) -> Result<Json<FaultsReply>, ApiError> {
    let obeyed = surface.ask(|reply| Command::Fault(order, reply)).await?;
    obeyed.map(Json).map_err(|refused| ApiError::new(StatusCode::BAD_REQUEST, refused.to_string()))
}
