//! Keys: `/kv`, `/owner`, `/ring`.
//!
//! ```text
//! POST /kv, GET and DELETE /kv/<key> ─▶ Keys::ask ─▶ answered at once, or waited for ─▶ JSON
//! ```
//! The key is everything after `/kv/`, slashes included, percent-decoded. A path cannot end in `/.` or `/..` (clients take
//! them for directions), so those two keys, and any other, may also be written as `/kv?key=%2E%2E` (ours).
//!
//! A get that can be answered from memory is answered by [`Surface::quick`] before the router sees it, with the same words.

use std::pin::Pin;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use p2pnet_shared::{
    Key,
    api::{DeleteReply, OwnerReply, PutReply, RingMember, RingReply},
    id::KEY_MAX_BYTES,
    ring::{Ring, hash, hex, token_name},
    wire::dht::{Operation, Refusal, Value, ValueTooLong},
};
use serde::de::IgnoredAny;

use super::{ApiError, CALLER_HEADER, Surface, body::Fields, percent};
use crate::{
    dht::{Answer, Request as Question},
    runtime::questions::Asked,
};

/// What a key that is not there is told, in the words of the course projects.
const NOT_FOUND: &str = "Key not found";

impl Surface {
    /// A get that takes no detour: from a person, of a key, and either answered already or a future that waits.
    pub(super) fn quick(&self, method: &Method, uri: &Uri, headers: &axum::http::HeaderMap) -> Option<Quick> {
        let written = uri.path().strip_prefix("/kv/")?;
        if method != Method::GET || headers.contains_key(CALLER_HEADER) {
            return None;
        }
        let Ok(key) = key_of(written) else { return None };
        self.0.counters.kv_gets.add(1);
        Some(match self.0.keys.ask(Question::Read(key.clone())) {
            Asked::Now(answer) => Quick::Now(self.counted(self.found(&key, answer))),
            Asked::Later(answer) => {
                let surface = self.clone();
                Quick::Later(Box::pin(async move {
                    let found = match answer.await {
                        Ok(answer) => surface.found(&key, answer),
                        Err(_) => Err(leaving()),
                    };
                    surface.counted(found)
                }))
            }
            Asked::Busy => Quick::Now(self.counted(Err(busy()))),
            Asked::Leaving => Quick::Now(self.counted(Err(leaving()))),
        })
    }

    fn counted(&self, reply: Result<Response, ApiError>) -> Response {
        let counters = &self.0.counters;
        counters.http_requests.add(1);
        if reply.is_err() {
            counters.http_errors.add(1);
        }
        reply.into_response()
    }

    async fn answer(&self, question: Question) -> Result<Answer, ApiError> {
        match self.0.keys.ask(question) {
            Asked::Now(answer) => Ok(answer),
            Asked::Later(answer) => answer.await.map_err(|_| leaving()),
            Asked::Busy => Err(busy()),
            Asked::Leaving => Err(leaving()),
        }
    }

    fn found(&self, key: &Key, answer: Answer) -> Result<Response, ApiError> {
        match answer {
            Answer::Found { value, siblings } => {
                let owner = self.0.keys.holders(key).swap_remove(0);
                let mut json = Vec::with_capacity(64 + key.as_str().len() + value.as_json().len());
                json.extend_from_slice(b"{\"key\":");
                write_text(&mut json, key.as_str());
                json.extend_from_slice(b",\"value\":");
                write_value(&mut json, &value)?;
                json.extend_from_slice(b",\"owner\":\"");
                json.extend_from_slice(owner.as_str().as_bytes());
                json.push(b'"');
                for (place, sibling) in siblings.iter().enumerate() {
                    json.extend_from_slice(if place == 0 { b",\"siblings\":[" } else { b"," });
                    write_value(&mut json, sibling)?;
                }
                json.extend_from_slice(if siblings.is_empty() { b"}" } else { b"]}" });
                let mut reply = Response::new(Body::from(json));
                reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Ok(reply)
            }
            other => Err(self.failed("read", other)),
        }
    }

    /// Why there is no other answer.
    fn failed(&self, verb: &str, answer: Answer) -> ApiError {
        let unavailable = |error| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error);
        let error = match answer {
            Answer::Missing => return ApiError::new(StatusCode::NOT_FOUND, NOT_FOUND),
            Answer::TooFew { reached, wanted } if verb == "read" && reached >= wanted => unavailable(format!(
                "{reached} copies were reached, but nodes that do not answer may hold a newer one; try again in a moment"
            )),
            Answer::TooFew { reached, wanted } if verb == "read" => unavailable(format!(
                "{reached} of {wanted} copies were reached in time; try again once more nodes are up"
            )),
            Answer::TooFew { reached, wanted } => unavailable(format!(
                "{reached} of {wanted} copies were reached in time, so it may be {verb} or not; try again once more nodes \
                 are up"
            )),
            Answer::Refused { why: Refusal::Full, reached } => {
                let error =
                    format!("no room left: only {reached} copies could be {verb}; delete keys or free the disk");
                ApiError::new(StatusCode::INSUFFICIENT_STORAGE, error)
            }
            Answer::Refused { why: Refusal::Broken, reached } => unavailable(format!(
                "the store of a replica cannot be used and only {reached} copies could be {verb}; its log says why"
            )),
            Answer::Refused { why: Refusal::Late, reached } => {
                unavailable(format!("the replicas are busy and only {reached} copies could be {verb}; try again"))
            }
            Answer::Stored { .. } | Answer::Deleted { .. } | Answer::Found { .. } => {
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the store answered another question; report this")
            }
        };
        self.0.counters.kv_failed.add(1);
        error
    }
}

/// [`Surface::quick`]'s reply.
pub(super) enum Quick {
    /// Here it is.
    Now(Response),
    /// It comes.
    Later(Pin<Box<dyn Future<Output = Response> + Send>>),
}

fn leaving() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "this node is leaving; ask another")
}

fn busy() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait for other nodes here; try again in a moment")
}

fn write_text(json: &mut Vec<u8>, text: &str) {
    // Writing a text to memory does not fail.
    let _ = serde_json::to_writer(json, text);
}

/// A value came from a disk or another node: it is checked before it becomes part of a reply.
fn write_value(json: &mut Vec<u8>, value: &Value) -> Result<(), ApiError> {
    if serde_json::from_str::<IgnoredAny>(value.as_json()).is_err() {
        let error = "what the replicas hold under this key is not JSON; store it anew";
        return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error));
    }
    json.extend_from_slice(value.as_json().as_bytes());
    Ok(())
}

/// A key as it is written in a path or query.
fn key_of(written: &str) -> Result<Key, ApiError> {
    if !written.contains('%') {
        return checked(written.to_owned());
    }
    let broken = || ApiError::bad("the key has a `%` without two hexadecimal digits; write `%25` for a percent sign");
    let bytes = percent::bytes(written).ok_or_else(broken)?;
    checked(String::from_utf8(bytes).map_err(|_| ApiError::bad("the key is not UTF-8 once it is percent-decoded"))?)
}

fn checked(key: String) -> Result<Key, ApiError> {
    match key.len() {
        0 => Err(ApiError::bad("the key is empty; a key has 1 to 1024 bytes")),
        1..=KEY_MAX_BYTES => Key::try_from(key).map_err(|error| ApiError::bad(error.to_string())),
        length => {
            let error = format!("the key is {length} bytes long, the limit is {KEY_MAX_BYTES}; shorten it");
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, error))
        }
    }
}

/// The key that a path with this beginning names, or its query.
fn named_in(uri: &Uri, beginning: &str) -> Result<Key, ApiError> {
    if let Some(written) = uri.path().strip_prefix(beginning) {
        return key_of(written);
    }
    let written = uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("key="));
    key_of(written.ok_or_else(|| ApiError::bad(format!("no key is named; ask for `{beginning}KEY`")))?)
}

pub(super) async fn put(State(surface): State<Surface>, request: Request) -> Result<axum::Json<PutReply>, ApiError> {
    let limits = surface.0.limits();
    let mut fields = Fields::read(request, limits.kv_body_bytes, limits.body_timeout).await?;
    let key = match fields.take("key") {
        Some(serde_json::Value::String(key)) => checked(key)?,
        Some(_) => return Err(ApiError::bad("field `key` is not a text; put it in quotes")),
        None => return Err(ApiError::bad("field `key` is missing; send {\"key\": \"…\", \"value\": …}")),
    };
    let given = fields.take("value");
    let given = given.ok_or_else(|| ApiError::bad("field `value` is missing; send any JSON, `null` for nothing"))?;
    let value = Value::new(&given).map_err(|long @ ValueTooLong(_)| {
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("field `value`: {long}; shorten it"))
    })?;
    surface.0.counters.kv_puts.add(1);
    let operation = Operation::Put { key: key.clone(), value };
    match surface.answer(Question::Write(operation)).await? {
        Answer::Stored { acks } => {
            let replicas = surface.0.keys.holders(&key);
            let owner = replicas[0].clone();
            let status = "stored".to_owned();
            Ok(axum::Json(PutReply { status, key: key.into(), value: given, owner, replicas, acks }))
        }
        other => Err(surface.failed("stored", other)),
    }
}

pub(super) async fn get(State(surface): State<Surface>, uri: Uri) -> Result<Response, ApiError> {
    let key = named_in(&uri, "/kv/")?;
    surface.0.counters.kv_gets.add(1);
    let answer = surface.answer(Question::Read(key.clone())).await?;
    surface.found(&key, answer)
}

pub(super) async fn delete(State(surface): State<Surface>, uri: Uri) -> Result<axum::Json<DeleteReply>, ApiError> {
    let key = named_in(&uri, "/kv/")?;
    surface.0.counters.kv_deletes.add(1);
    match surface.answer(Question::Write(Operation::Delete { key: key.clone() })).await? {
        Answer::Deleted { acks } => Ok(axum::Json(DeleteReply { status: "deleted".to_owned(), key: key.into(), acks })),
        other => Err(surface.failed("deleted", other)),
    }
}

pub(super) async fn owner(State(surface): State<Surface>, uri: Uri) -> Result<axum::Json<OwnerReply>, ApiError> {
    let key = named_in(&uri, "/owner/")?;
    let replicas = surface.0.keys.holders(&key);
    let hash = hex(&hash(key.as_str()));
    Ok(axum::Json(OwnerReply { key: key.into(), hash, owner: replicas[0].clone(), replicas }))
}

pub(super) async fn ring(State(surface): State<Surface>) -> axum::Json<RingReply> {
    let ring = surface.0.keys.with(|state| state.ring().clone());
    axum::Json(RingReply {
        observer: surface.0.name.clone(),
        digest: ring.digest().to_string(),
        vnodes: ring.vnodes(),
        n: surface.0.copies,
        nodes: members_of(&ring),
    })
}

fn members_of(ring: &Ring) -> Vec<RingMember> {
    let tokens = |name| {
        let mut tokens: Vec<_> = (0..ring.vnodes()).map(|number| hash(&token_name(name, number))).collect();
        tokens.sort_unstable();
        tokens.iter().map(hex).collect()
    };
    let rows = ring.members().iter().zip(ring.shares());
    rows.map(|(name, share)| RingMember { name: name.clone(), share, tokens: tokens(name) }).collect()
}

#[cfg(test)]
mod tests {
    use p2pnet_shared::ring::Place;

    use super::*;

    #[test]
    fn a_key_is_percent_decoded_once_and_keeps_its_slashes() {
        for (written, key) in [
            ("apple", "apple"),
            ("a/b//c/", "a/b//c/"),
            ("a%20b%2Fc", "a b/c"),
            ("100%25", "100%"),
            ("%2525", "%25"),
            ("a+b", "a+b"),
            ("%D0%BA%D0%BB%D1%8E%D1%87", "ключ"),
            ("%00", "\0"),
        ] {
            assert_eq!(key_of(written).unwrap().as_str(), key);
        }
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        let long = "x".repeat(KEY_MAX_BYTES + 1);
        for (written, status) in [("", 400), ("%", 400), ("%2", 400), ("%zz", 400), ("%ff", 400), (&*long, 413)] {
            assert_eq!(key_of(written).unwrap_err().status, status, "{written}");
        }
        assert!(key_of(&long[1..]).is_ok() && key_of(&"%61".repeat(KEY_MAX_BYTES)).is_ok());
    }

    #[test]
    fn tokens_are_listed_in_full_and_sorted() {
        let ring = Ring::of(4, ["node1".parse().unwrap(), "node2".parse().unwrap()]);
        let members = members_of(&ring);
        assert_eq!(members.len(), 2);
        for member in members {
            assert!(member.tokens.is_sorted() && member.tokens.iter().all(|token| token.len() == 40));
            let place = Place(u64::from_str_radix(&member.tokens[0][..16], 16).unwrap());
            assert!(ring.tokens().any(|(token, _)| token == place));
        }
    }
}
