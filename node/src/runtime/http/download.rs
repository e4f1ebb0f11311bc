//! `GET /download/<path>`: a file's bytes, whole or in part, from here or from whoever has them.
//!
//! ```text
//! Request::Open ─▶ it is on this disk and looks like this ─▶ opened once ─▶ pieces, each checked (folder/serve.rs)
//! ```
//! The tag is the hash of the contents, so it is the same on every node and a download may be continued from another one. Bytes that
//! were written by somebody else are never sent as anything a browser would run.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use p2pnet_shared::{FilePath, wire::folder::Root};

use super::{
    ApiError, Surface,
    files::{answered, failed, path_in, tag, troubled},
    range::{Wanted, wanted},
};
use crate::{
    folder::{Answer, Request as Question, Trouble},
    runtime::folder::{Opened, Pieces},
};

/// How often a file that changes just then is looked for again.
const TRIES: usize = 5;

pub(super) async fn download(
    State(surface): State<Surface>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let path = path_in(&uri, "/download/")?;
    let (opened, root, size) = open(&surface, path).await?;
    let tag = tag(&root);
    let mut reply = match wanted(&headers, size, &tag) {
        Wanted::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Wanted::Unsatisfiable => {
            let error = format!("the file has {size} bytes, and none of them is in that range");
            let mut reply = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, error).into_response();
            insert(&mut reply, header::CONTENT_RANGE, &format!("bytes */{size}"));
            reply
        }
        Wanted::Whole => {
            let mut reply = body(opened, 0..size);
            insert(&mut reply, header::CONTENT_LENGTH, &size.to_string());
            reply
        }
        Wanted::Part(range) => {
            let (first, last) = (range.start, range.end - 1);
            let mut reply = body(opened, range);
            *reply.status_mut() = StatusCode::PARTIAL_CONTENT;
            insert(&mut reply, header::CONTENT_LENGTH, &(last - first + 1).to_string());
            insert(&mut reply, header::CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
            reply
        }
    };
    insert(&mut reply, header::ETAG, &tag);
    insert(&mut reply, header::ACCEPT_RANGES, "bytes");
    Ok(reply)
}

async fn open(surface: &Surface, path: FilePath) -> Result<(Opened, Root, u64), ApiError> {
    let folder = surface.folder()?;
    for _ in 0..TRIES {
        match answered(folder.ask(Question::Open { path: path.clone() })).await? {
            Answer::Open { path, stat, root } => match folder.open_file(path, stat).await {
                Ok(opened) => return Ok((opened, root, stat.size)),
                Err(Trouble::Changed) => {}
                Err(other) => return Err(troubled(other)),
            },
            other => return Err(failed(&other)),
        }
        // Somebody is at it: what it is now is known as soon as it has been looked at.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let error = "the file changes all the time; try again when its writer is done";
    Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error))
}

fn body(opened: Opened, range: std::ops::Range<u64>) -> Response {
    let pieces = futures_util::stream::unfold(Pieces::new(opened, range), |mut pieces| async move {
        let piece = pieces.next().await?;
        Some((piece, pieces))
    });
    let mut reply = Body::from_stream(pieces).into_response();
    insert(&mut reply, header::CONTENT_TYPE, "application/octet-stream");
    insert(&mut reply, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    reply
}

fn insert(reply: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}
