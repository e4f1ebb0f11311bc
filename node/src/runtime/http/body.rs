//! A request's JSON body, read within its limits, and its fields, each refused by name.
//!
//! The content type is not looked at: `curl -d` sends the wrong one and means JSON all the same.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{StatusCode, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{ApiError, Surface};

/// How much of a body that is too large is read and thrown away, as a multiple of the limit. Without it the asker, still
/// sending, would see a reset instead of the 413.
const DRAIN: usize = 16;

/// The fields of a JSON object.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

impl FromRequest<Surface> for Fields {
    type Rejection = ApiError;

    async fn from_request(request: Request, surface: &Surface) -> Result<Self, ApiError> {
        let limits = surface.0.limits();
        Self::read(request, limits.body_bytes, limits.body_timeout).await
    }
}

async fn read(request: Request, limit: usize) -> Result<Vec<u8>, ApiError> {
    let too_large =
        || ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes; send less"));
    let (parts, mut body) = request.into_parts();
    let length =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > limit) && parts.headers.contains_key(header::EXPECT) {
        return Err(too_large()); // it waits to hear this before it sends
    }
    let read = Limited::new(&mut body, limit).collect().await;
    match read {
        Ok(read) => Ok(read.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => {
            drain(body, limit * DRAIN).await;
            Err(too_large())
        }
        Err(_) => Err(ApiError::bad("the body broke off; send it whole")),
    }
}

async fn drain(mut body: Body, mut room: usize) {
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, bytes::Bytes::len);
        match room.checked_sub(length) {
            Some(left) => room = left,
            None => return,
        }
    }
}

impl Fields {
    /// Reads a body of at most `limit` bytes.
    pub(super) async fn read(request: Request, limit: usize, patience: Duration) -> Result<Self, ApiError> {
        match timeout(patience, read(request, limit)).await {
            Ok(bytes) => Self::parse(&bytes?),
            Err(_) => {
                let error = "the body did not arrive in time; send it whole";
                Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, error))
            }
        }
    }

    /// A field as it was given, `null` included.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| ApiError::bad(format!("the body is not UTF-8 text after byte {}", error.valid_up_to())))?;
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(ApiError::bad("the body is JSON but no object; send {\"field\": …}")),
            Err(error) => Err(ApiError::bad(format!("the body is not JSON: {error}"))),
        }
    }

    /// The whole object as a value of one type; what is wrong is said by its decoder, `hint` says what to send instead.
    pub(super) fn whole<T: serde::de::DeserializeOwned>(self, hint: &str) -> Result<T, ApiError> {
        serde_json::from_value(Value::Object(self.0)).map_err(|error| ApiError::bad(format!("{error}; {hint}")))
    }

    /// A field under any of its names; `null` counts as absent.
    fn find(&self, names: &[&'static str]) -> Option<(&'static str, &Value)> {
        let mut found = names.iter().filter_map(|name| Some((*name, self.0.get(*name)?)));
        found.find(|(_, value)| !value.is_null())
    }

    /// A text that is there, not blank, and at most `max` bytes long.
    pub(super) fn text(&self, names: &[&'static str], max: usize) -> Result<String, ApiError> {
        let name = names[0];
        let text = self
            .optional_text(names, max)?
            .ok_or_else(|| ApiError::bad(format!("field `{name}` is missing; send it as a text")))?;
        if text.trim().is_empty() {
            return Err(ApiError::bad(format!("field `{name}` is empty; send some text")));
        }
        Ok(text)
    }

    /// A text of at most `max` bytes, if it is there.
    pub(super) fn optional_text(&self, names: &[&'static str], max: usize) -> Result<Option<String>, ApiError> {
        match self.find(names) {
            None => Ok(None),
            Some((_, Value::String(text))) if text.len() <= max => Ok(Some(text.clone())),
            Some((name, Value::String(text))) => Err(ApiError::bad(format!(
                "field `{name}` is {} bytes long, the limit is {max}; shorten it",
                text.len()
            ))),
            Some((name, other)) => {
                Err(ApiError::bad(format!("field `{name}` is {}, not a text; put it in quotes", kind(other))))
            }
        }
    }

    /// A whole number within `range`, if it is there.
    pub(super) fn number<N: TryFrom<u64> + PartialOrd + std::fmt::Display>(
        &self,
        name: &'static str,
        range: std::ops::RangeInclusive<N>,
    ) -> Result<Option<N>, ApiError> {
        let Some((_, value)) = self.find(&[name]) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| N::try_from(number).ok()).filter(|number| range.contains(number));
        let (first, last) = (range.start(), range.end());
        number
            .map(Some)
            .ok_or_else(|| ApiError::bad(format!("field `{name}` has to be a whole number from {first} to {last}")))
    }

    /// A list of at most `max` texts.
    pub(super) fn texts(&self, name: &'static str, max: usize) -> Result<Vec<&str>, ApiError> {
        let list = match self.find(&[name]) {
            None => return Err(ApiError::bad(format!("field `{name}` is missing; send it as a list of texts"))),
            Some((_, Value::Array(list))) => list,
            Some((_, other)) => {
                return Err(ApiError::bad(format!("field `{name}` is {}, not a list of texts", kind(other))));
            }
        };
        if list.len() > max {
            return Err(ApiError::bad(format!("field `{name}` has {} entries, the limit is {max}", list.len())));
        }
        let text = |(place, value): (usize, &'_ Value)| match value {
            Value::String(_) => Ok(place),
            other => Err(ApiError::bad(format!("field `{name}`, entry {place}, is {}, not a text", kind(other)))),
        };
        list.iter().enumerate().try_for_each(|entry| text(entry).map(drop))?;
        Ok(list.iter().filter_map(Value::as_str).collect())
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields {
        Fields::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_field_is_found_under_either_of_its_names() {
        let names = ["sender", "sender_id"];
        assert_eq!(fields(r#"{"sender":"a"}"#).text(&names, 9).unwrap(), "a");
        assert_eq!(fields(r#"{"sender":null,"sender_id":"b"}"#).text(&names, 9).unwrap(), "b");
    }

    #[test]
    fn what_is_wrong_names_the_field() {
        for (json, message) in [
            (r"{}", "`msg` is missing"),
            (r#"{"msg":7}"#, "`msg` is a number, not a text"),
            (r#"{"msg":" "}"#, "`msg` is empty"),
            (r#"{"msg":"0123456789"}"#, "`msg` is 10 bytes long, the limit is 9"),
        ] {
            let error = fields(json).text(&["msg"], 9).unwrap_err();
            assert!(error.error.contains(message) && error.status == 400, "{error:?}");
        }
        for ttl in ["0", "33", "-1", "1.5", "\"3\"", "18446744073709551616", "true"] {
            let error = fields(&format!("{{\"ttl\":{ttl}}}")).number("ttl", 1..=32).unwrap_err();
            assert!(error.error.contains("`ttl` has to be a whole number from 1 to 32"), "{ttl}: {error:?}");
        }
        assert!(fields(r#"{"peers":["a",5]}"#).texts("peers", 9).unwrap_err().error.contains("entry 1, is a number"));
        assert!(fields(r#"{"peers":["a","b"]}"#).texts("peers", 1).unwrap_err().error.contains("the limit is 1"));
    }

    #[test]
    fn bytes_that_are_no_json_object_are_refused() {
        let deep = "[".repeat(100_000);
        for bytes in [&b""[..], b"{", b"[1]", b"\"x\"", b"{\"a\":1e999}", b"{\"a\":\"\xff\"}", deep.as_bytes()] {
            assert_eq!(Fields::parse(bytes).unwrap_err().status, 400, "{bytes:?}");
        }
    }
}
