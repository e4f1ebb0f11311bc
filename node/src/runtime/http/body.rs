//! Reading a JSON body: bounded in length and time, and with an error that says what is wrong.

use axum::{body::Body, http::StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::{Refusal, Reply};
use crate::config::Limits;

/// Reads and understands a body. `example` is shown to whoever got it wrong.
pub(super) async fn json<T: DeserializeOwned>(body: Body, limits: &Limits, example: &str) -> Reply<T> {
    let limited = Limited::new(body, limits.body_bytes).collect();
    let bytes = match timeout(limits.body, limited).await {
        Err(_) => {
            let error = format!("the body did not arrive within {} s; send it at once", limits.body.as_secs());
            return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, error));
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let error = format!("the body is longer than {} bytes; send less", limits.body_bytes);
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error));
        }
        Ok(Err(error)) => return Err(Refusal::bad(format!("the body did not arrive whole: {error}"))),
        Ok(Ok(body)) => body.to_bytes(),
    };
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::bad(format!("the body is not JSON ({error}); send for example {example}")))?;
    if !value.is_object() {
        return Err(Refusal::bad(format!("the body is not a JSON object; send for example {example}")));
    }
    serde_json::from_value(value).map_err(|error| Refusal::bad(format!("{error}; send for example {example}")))
}
