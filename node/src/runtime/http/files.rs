//! The shared folder: `/upload`, `/files`, `/rescan` (contract §2); downloads are in `download.rs`.
//!
//! ```text
//! POST /upload ─▶ multipart.rs ─┐
//! PUT /files/<path> ────────────┴▶ receive: bytes go to a file of the folder's own as they come, hashed on the way
//!                                     └▶ Request::Upload ─▶ 201 once enough nodes have it on disk, 202 if not in time
//! ```
//! A body is never held: it may be 4 GiB. It has no deadline as a whole, but the next bytes must come within
//! `Limits::body_timeout`. Whatever ends an upload early leaves nothing behind.

use std::{pin::Pin, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use p2pnet_shared::{
    FilePath, UnixMillis,
    api::{ConflictRow, FileDeletedReply, FileRow, FilesReply, RescanReply, UploadReply},
    wire::folder::Root,
};
use tokio::time::timeout;

use super::{
    ApiError, Surface,
    multipart::{BodyError, Parts, Piece, boundary},
    percent, range,
};
use crate::{
    folder::{Answer, Request as Question, Trouble},
    runtime::{
        folder::{Folder, Received},
        questions::Asked,
    },
};

/// How much of a body that is refused is read and thrown away, bytes, and for how long: without it the asker, still sending, would
/// see a reset instead of the reason.
const DRAIN_BYTES: usize = 64 * 1024 * 1024;
const DRAIN: Duration = Duration::from_secs(2);
/// What a form may hold besides its file, bytes.
const BESIDE_BYTES: usize = 64 * 1024;

impl Surface {
    /// The node's folder.
    pub(super) fn folder(&self) -> Result<&Folder, ApiError> {
        let none = "this node has no shared folder; start it with `--sync DIR` (SYNC_DIR), or ask another";
        self.0.folder.as_ref().ok_or_else(|| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, none))
    }
}

/// Waits for what became of a question.
pub(super) async fn answered(asked: Asked<Answer>) -> Result<Answer, ApiError> {
    let unavailable = |error: &str| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error);
    let leaving = || unavailable("this node is leaving; ask another");
    match asked {
        Asked::Now(answer) => Ok(answer),
        Asked::Later(answer) => answer.await.map_err(|_| leaving()),
        Asked::Busy => Err(unavailable("too many requests about files wait here; try again in a moment")),
        Asked::Leaving => Err(leaving()),
    }
}

/// Why there is no other answer.
pub(super) fn failed(answer: &Answer) -> ApiError {
    match answer {
        Answer::Missing => ApiError::new(StatusCode::NOT_FOUND, "there is no such file; GET /files lists them"),
        Answer::Late => {
            let error = "no node that can be reached has given it in time; try again once more nodes are up";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error)
        }
        Answer::Failed(trouble) => troubled(*trouble),
        _ => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the folder answered another question; report this"),
    }
}

pub(super) fn troubled(trouble: Trouble) -> ApiError {
    let (status, error) = match trouble {
        Trouble::Full => {
            (StatusCode::INSUFFICIENT_STORAGE, "no room left on this node's disk; free some, or ask another")
        }
        Trouble::Broken => {
            (StatusCode::SERVICE_UNAVAILABLE, "this node's folder cannot be read or written; its log says why")
        }
        Trouble::NoFolder => (
            StatusCode::SERVICE_UNAVAILABLE,
            "this node's folder is gone, or the marker in it; mount it again and restart",
        ),
        Trouble::Changed => (StatusCode::CONFLICT, "the file was changed at the same moment; try again"),
        Trouble::Refused => {
            (StatusCode::CONFLICT, "a file stands where a folder would have to be, or the name is none for this disk")
        }
    };
    ApiError::new(status, error)
}

/// A path of the folder as a request's URL has it.
pub(super) fn path_in(uri: &Uri, beginning: &str) -> Result<FilePath, ApiError> {
    let written = uri.path().strip_prefix(beginning).unwrap_or_default();
    let broken = || ApiError::bad("the path is not percent-encoded UTF-8; write `%25` for a percent sign");
    path_of(&percent::decoded(written).ok_or_else(broken)?)
}

fn path_of(given: &str) -> Result<FilePath, ApiError> {
    given.parse().map_err(|error: p2pnet_shared::path::PathError| ApiError::bad(error.to_string()))
}

/// A body's frames; `None` when it broke off or nothing came for too long.
type Frames = Pin<Box<dyn Stream<Item = Option<Bytes>> + Send>>;

fn frames(body: Body, patience: Duration) -> Frames {
    let frames = stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        loop {
            return match timeout(patience, body.frame()).await {
                Ok(None) => None,
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => Some((Some(bytes), Some(body))),
                    Err(_trailers) => continue,
                },
                Ok(Some(Err(_))) | Err(_) => Some((None, None)),
            };
        }
    });
    Box::pin(frames.fuse())
}

/// A file on its way in: what it has had so far, and its limit.
struct Incoming {
    upload: crate::runtime::folder::Upload,
    size: u64,
    max: u64,
}

impl Incoming {
    fn begin(folder: &Folder, max: u64) -> Result<Self, ApiError> {
        Ok(Self { upload: folder.upload().map_err(troubled)?, size: 0, max })
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        self.size += bytes.len() as u64;
        if self.size > self.max {
            return Err(too_large(self.max));
        }
        self.upload.write(bytes).await.map_err(troubled)
    }

    async fn finish(self) -> Result<Received, ApiError> {
        self.upload.finish().await.map_err(troubled)
    }
}

fn too_large(max: u64) -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the file is larger than {max} bytes; send it in parts"))
}

fn broken(error: &BodyError) -> ApiError {
    ApiError::bad(error.to_string())
}

/// Refuses by its `Content-Length` what would be refused in the end.
fn check_length(headers: &HeaderMap, max: u64) -> Result<(), ApiError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > max) { Err(too_large(max)) } else { Ok(()) }
}

pub(super) async fn upload(State(surface): State<Surface>, request: Request) -> Result<Response, ApiError> {
    let folder = surface.folder()?;
    let limits = surface.0.limits();
    let (parts, body) = request.into_parts();
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let boundary = kind.and_then(boundary).ok_or_else(|| {
        ApiError::bad("send multipart/form-data with the file in field `file`, as `curl -F file=@photo.jpg` does")
    })?;
    check_length(&parts.headers, limits.file_bytes.saturating_add(2 * BESIDE_BYTES as u64))?;
    let mut form = Parts::new(frames(body, limits.body_timeout), &boundary);
    let received = match receive_form(folder, &mut form, limits.file_bytes).await {
        Ok(received) => received,
        Err(error) => {
            drain(form.into_body()).await;
            return Err(error);
        }
    };
    let (path, received) = received;
    stored(&surface, path, received, |_| true).await
}

/// The one file of a form, and where it is to be.
async fn receive_form(folder: &Folder, form: &mut Parts<Frames>, max: u64) -> Result<(FilePath, Received), ApiError> {
    let (mut file, mut open, mut beside) = (None, None, 0);
    while let Some(piece) = form.next().await.map_err(|error| broken(&error))? {
        match piece {
            Piece::Head(head) if head.name.as_deref() == Some("file") => {
                if file.is_some() {
                    return Err(ApiError::bad("there are two files in the form; send one at a time"));
                }
                let given = head.filename.filter(|name| !name.is_empty());
                let given =
                    given.ok_or_else(|| ApiError::bad("field `file` has no file name; add `;filename=photo.jpg`"))?;
                open = Some((path_of(&given)?, Incoming::begin(folder, max)?));
            }
            Piece::Head(head) => beside += head.name.map_or(0, |name| name.len()),
            Piece::Data(bytes) => match &mut open {
                Some((_, incoming)) => incoming.take(&bytes).await?,
                None => beside += bytes.len(),
            },
            Piece::End => {
                if let Some((path, incoming)) = open.take() {
                    file = Some(Kept { folder, file: Some((path, incoming.finish().await?)) });
                }
            }
        }
        if beside > BESIDE_BYTES {
            let error = "the form holds more than 64 KiB besides its file; send the file alone";
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, error));
        }
    }
    let kept = file.and_then(|mut kept| kept.file.take());
    kept.ok_or_else(|| ApiError::bad("there is no field `file` in the form; send it as `curl -F file=@photo.jpg` does"))
}

/// A file that was received; forgotten unless somebody takes it.
struct Kept<'a> {
    folder: &'a Folder,
    file: Option<(FilePath, Received)>,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if let Some((_, received)) = &self.file {
            self.folder.forget(received.upload);
        }
    }
}

/// `PUT /files/<path>` with the bytes as they are (ours): `curl -T photo.jpg`. `If-Match` names what is to be replaced.
pub(super) async fn put(State(surface): State<Surface>, uri: Uri, request: Request) -> Result<Response, ApiError> {
    let folder = surface.folder()?;
    let limits = surface.0.limits();
    let (parts, body) = request.into_parts();
    let mut body = frames(body, limits.body_timeout);
    let received = async {
        let path = path_in(&uri, "/files/")?;
        check_length(&parts.headers, limits.file_bytes)?;
        let mut incoming = Incoming::begin(folder, limits.file_bytes)?;
        while let Some(bytes) = body.next().await {
            incoming.take(&bytes.ok_or_else(|| broken(&BodyError::BrokeOff))?).await?;
        }
        Ok((path, incoming.finish().await?))
    };
    let (path, received) = match received.await {
        Ok(received) => received,
        Err(error) => {
            drain(body).await;
            return Err(error);
        }
    };
    let condition = parts.headers.get(header::IF_MATCH).and_then(|tags| tags.to_str().ok()).map(str::to_owned);
    let may = |now: Option<&Root>| match (&condition, now) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(tags), Some(root)) => range::matches_any(tags, &tag(root), false),
    };
    stored(&surface, path, received, may).await
}

/// Puts what was received into the folder, if what is there now may be replaced, and waits until others have it too.
async fn stored(
    surface: &Surface,
    path: FilePath,
    received: Received,
    may: impl FnOnce(Option<&Root>) -> bool,
) -> Result<Response, ApiError> {
    let folder = surface.folder()?;
    let Received { upload, root, size } = received;
    let mut kept = Kept { folder, file: Some((path.clone(), received)) };
    let question = Question::Upload { path: path.clone(), upload, root, size };
    let Some(asked) = folder.ask_if(&path, question, may) else {
        let error = "the file is another one by now, see its ETag; fetch it and try again";
        return Err(ApiError::new(StatusCode::PRECONDITION_FAILED, error));
    };
    let is_taken = matches!(asked, Asked::Now(_) | Asked::Later(_));
    if is_taken {
        kept.file = None; // it is the folder's now
    }
    match answered(asked).await? {
        Answer::Uploaded { holders } => {
            let status = if holders >= u32::from(folder.copies()) { StatusCode::CREATED } else { StatusCode::ACCEPTED };
            let reply = UploadReply { status: "uploaded".to_owned(), filename: path, size, hash: root, holders };
            Ok((status, [(header::ETAG, tag(&root))], Json(reply)).into_response())
        }
        other => {
            folder.forget(upload);
            Err(failed(&other))
        }
    }
}

/// A file's tag.
pub(super) fn tag(root: &Root) -> String {
    format!("\"{root}\"")
}

/// Reads on for a while, so that whoever still sends gets to read why we do not want it.
async fn drain(mut body: Frames) {
    let reading = async {
        let mut room = DRAIN_BYTES;
        while let Some(Some(bytes)) = body.next().await {
            match room.checked_sub(bytes.len()) {
                Some(left) => room = left,
                None => return,
            }
        }
    };
    let _ = timeout(DRAIN, reading).await;
}

pub(super) async fn delete(State(surface): State<Surface>, uri: Uri) -> Result<Json<FileDeletedReply>, ApiError> {
    let folder = surface.folder()?;
    let path = path_in(&uri, "/files/")?;
    match answered(folder.ask(Question::Delete { path: path.clone() })).await? {
        Answer::Deleted => Ok(Json(FileDeletedReply { status: "deleted".to_owned(), filename: path })),
        other => Err(failed(&other)),
    }
}

pub(super) async fn list(State(surface): State<Surface>) -> Result<Json<FilesReply>, ApiError> {
    let folder = surface.folder()?;
    let Answer::Listed { files, digest } = answered(folder.ask(Question::List)).await? else {
        return Err(failed(&Answer::Late));
    };
    let conflicts = files.iter().filter_map(|file| {
        let path = file.copy_of.clone()?;
        Some(ConflictRow { path, copy: file.path.clone(), hash: file.root })
    });
    let conflicts = conflicts.collect();
    let rows = files.into_iter().map(|file| FileRow {
        path: file.path,
        size: file.size,
        hash: file.root,
        modified: UnixMillis(u64::try_from(file.mtime_ns / 1_000_000).unwrap_or(0)),
        holders: file.holders,
    });
    Ok(Json(FilesReply { files: rows.collect(), conflicts, digest }))
}

pub(super) async fn rescan(State(surface): State<Surface>) -> Result<Json<RescanReply>, ApiError> {
    match answered(surface.folder()?.ask(Question::Rescan)).await? {
        Answer::Rescanned => Ok(Json(RescanReply { status: "scanned".to_owned() })),
        other => Err(failed(&other)),
    }
}
