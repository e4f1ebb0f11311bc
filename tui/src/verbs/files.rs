//! `upload`, `download`, `files`, `delete-file`: the shared folder through any node that is up.
//!
//! ```text
//! shell, prompt ─▶ FileOrder ─▶ a node, drawn unless it is named ─▶ bytes from a file here, or into one, a piece at a time
//! ```
//! A download goes to a file that is not there yet, or to stdout; nothing is ever overwritten, and of a download that breaks off
//! nothing stays. What a shell reads on stdout is the file, or the list; the rest is a remark.

use std::{
    io::{ErrorKind, IsTerminal, Write},
    path::{Path, PathBuf},
};

use futures_util::stream;
use p2pnet_shared::{
    FilePath, NodeName,
    api::{FileDeletedReply, FilesReply, UploadReply},
    client::{Client, ClientError},
    wire::folder::{Bytes, Root},
};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncWriteExt},
};

use super::{Outcome, keys::drawn, one_line, reach, refused};
use crate::{
    cluster::Cluster,
    failure::Failure,
    verb::{FileAct, FileOrder, Target},
};

/// Nodes a question is put to, one after the other, before it is given up.
const TRIES: usize = 3;
/// Bytes of a file read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// What came of an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Shared.
    Uploaded(UploadReply),
    /// Here.
    Downloaded {
        /// Which.
        path: FilePath,
        /// Bytes.
        size: u64,
        /// Where it is now; `None`: it went to stdout.
        to: Option<PathBuf>,
    },
    /// What there is.
    Files(FilesReply),
    /// Deleted.
    Deleted(FileDeletedReply),
}

/// Where a file is to be in the folder, if it is not said: under its own name.
///
/// # Errors
/// It has none, or one that the folder does not take.
pub fn named_like(file: &Path) -> Result<FilePath, Failure> {
    let hint = "say where it is to be, with `--as PATH`";
    let name = file.file_name().and_then(|name| name.to_str());
    let name =
        name.ok_or_else(|| Failure::new(format!("`{}` has no name to be kept under", file.display())).hint(hint))?;
    name.parse().map_err(|error: p2pnet_shared::path::PathError| Failure::new(error.to_string()).hint(hint))
}

/// Where a download goes, as a shell has it: `-o -` is stdout, and so is nothing at all unless somebody looks at it.
///
/// # Errors
/// Nothing was said and stdout is a terminal, which the bytes of a file could upset.
pub fn target(out: Option<PathBuf>) -> Result<Target, Failure> {
    match out {
        Some(out) if out.as_os_str() == "-" => Ok(Target::Stdout),
        Some(out) => Ok(Target::File(out)),
        None if std::io::stdout().is_terminal() => {
            Err(Failure::new("stdout is a terminal, and a file may be anything")
                .hint("`-o FILE` saves it, `-o -` prints it all the same"))
        }
        None => Ok(Target::Stdout),
    }
}

/// Carries an order out and says what came of it.
///
/// # Errors
/// As [`super::run`]; a file that is not there, here or in the folder, is one, and so is one that would be overwritten.
pub async fn answer(cluster: &Cluster, order: &FileOrder) -> Result<Answer, Failure> {
    let mut vias = match &order.via {
        Some(via) => vec![via.clone()],
        None => drawn(cluster).await?,
    };
    vias.truncate(if matches!(order.act, FileAct::List | FileAct::Download { .. }) { TRIES } else { 1 });
    let mut failed = None;
    for via in vias {
        let node = reach(cluster, &via).await?;
        match carry_out(&node, &order.act).await {
            Ok(answer) => return Ok(answer),
            Err(Trouble::Here(failure)) => return Err(failure),
            Err(Trouble::There(error)) => {
                let unheard = matches!(error, ClientError::Unreachable { .. } | ClientError::Deadline { .. })
                    || matches!(error, ClientError::Refused { status: 502 | 503, .. });
                let failure = explain(&order.act, &via, &error);
                if !unheard {
                    return Err(failure);
                }
                failed.get_or_insert(failure);
            }
        }
    }
    Err(failed.unwrap_or_else(|| Failure::new("no node is up").hint("`p2pnet restart-node 1` brings one back")))
}

enum Trouble {
    /// A file of ours.
    Here(Failure),
    /// The node.
    There(ClientError),
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        Trouble::There(error)
    }
}

async fn carry_out(node: &Client, act: &FileAct) -> Result<Answer, Trouble> {
    match act {
        FileAct::Upload { from, to } => upload(node, from, to).await,
        FileAct::Download { path, to } => download(node, path, to).await,
        FileAct::List => Ok(Answer::Files(node.files().await?)),
        FileAct::Delete(path) => Ok(Answer::Deleted(node.delete_file(path).await?)),
    }
}

async fn upload(node: &Client, from: &Path, to: &FilePath) -> Result<Answer, Trouble> {
    let unreadable = |error: std::io::Error| {
        Trouble::Here(Failure::new(format!("could not read `{}`: {error}", from.display())).hint("name a file"))
    };
    let file = File::open(from).await.map_err(unreadable)?;
    let about = file.metadata().await.map_err(unreadable)?;
    if !about.is_file() {
        return Err(unreadable(std::io::Error::other("it is no file")));
    }
    // As many bytes as were announced: a file that grows meanwhile is sent as it was.
    let pieces = stream::unfold(file.take(about.len()), |mut file| async move {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        match file.read_buf(&mut piece).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(Bytes::from(piece)), file)),
            Err(error) => Some((Err(error), file)),
        }
    });
    let body = reqwest::Body::wrap_stream(pieces);
    Ok(Answer::Uploaded(node.upload(to, about.len(), body).await?))
}

async fn download(node: &Client, path: &FilePath, to: &Target) -> Result<Answer, Trouble> {
    let mut bytes = node.download(path).await?;
    let Target::File(to) = to else {
        let size = copy(&mut bytes, &mut Out::Stdout, "stdout").await?;
        return Ok(Answer::Downloaded { path: path.clone(), size, to: None });
    };
    let to = if to.is_dir() { to.join(path.name()) } else { to.clone() };
    let file = File::create_new(&to).await.map_err(|error| {
        let failure = Failure::new(format!("could not make `{}`: {error}", to.display()));
        Trouble::Here(match error.kind() {
            ErrorKind::AlreadyExists => {
                failure.hint("it is there already and stays as it is; name another with `-o FILE`")
            }
            _ => failure.hint("name a file that can be made, with `-o FILE`"),
        })
    })?;
    let mut out = Out::File(file);
    match copy(&mut bytes, &mut out, &to.display().to_string()).await {
        Ok(size) => Ok(Answer::Downloaded { path: path.clone(), size, to: Some(to) }),
        Err(trouble) => {
            drop(out);
            // What came so far is not the file.
            let _ = tokio::fs::remove_file(&to).await;
            Err(trouble)
        }
    }
}

/// Where bytes go.
enum Out {
    /// Written as they come: whoever reads slowly is waited for, and nothing else is to be done meanwhile.
    Stdout,
    File(File),
}

impl Out {
    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Out::Stdout => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(bytes).and_then(|()| stdout.flush())
            }
            Out::File(file) => file.write_all(bytes).await,
        }
    }
}

async fn copy(bytes: &mut p2pnet_shared::client::Download, to: &mut Out, name: &str) -> Result<u64, Trouble> {
    let unwritable = |error: std::io::Error| Trouble::Here(Failure::new(format!("could not write to {name}: {error}")));
    let (mut size, mut hasher, hash) = (0, blake3::Hasher::new(), bytes.hash().map(str::to_owned));
    while let Some(chunk) = bytes.chunk().await? {
        hasher.update(&chunk);
        size += chunk.len() as u64;
        match to.write(&chunk).await {
            // A reader that went away (`| head`) has seen what it wanted.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(size),
            written => written.map_err(unwritable)?,
        }
    }
    if let Out::File(file) = to {
        file.flush().await.map_err(unwritable)?;
    }
    let came = Root(*hasher.finalize().as_bytes()).to_string();
    match hash {
        Some(hash) if hash != came => {
            let error = "what came is not what the node announced: its hash is another one";
            Err(Trouble::Here(Failure::new(error).hint("ask again, or another node with `--via`")))
        }
        _ => Ok(size),
    }
}

fn explain(act: &FileAct, via: &NodeName, error: &ClientError) -> Failure {
    let status = if let ClientError::Refused { status, .. } = error { *status } else { 0 };
    let failure = refused(via, error);
    match (act, status) {
        (FileAct::Download { path, .. } | FileAct::Delete(path), 404) => {
            Failure::new(format!("there is no file `{}`", one_line(path.as_str()))).hint("`p2pnet files` lists them")
        }
        (_, 503) => failure.hint("`p2pnet status` shows which nodes are up"),
        (_, 507) => failure.hint("make room on that node's disk, or go through another one with `--via`"),
        (FileAct::Upload { .. } | FileAct::Delete(_), 0 | 502) => {
            failure.hint("it may have been done all the same: `p2pnet files` tells")
        }
        _ => failure,
    }
}

impl Answer {
    /// What was asked for.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Answer::Uploaded(reply) => vec![format!("uploaded {}, {}", reply.filename, held(reply.holders))],
            Answer::Downloaded { .. } => Vec::new(),
            Answer::Files(reply) => reply
                .files
                .iter()
                .map(|file| format!("{:>12}  {:>5}  {}", file.size, file.holders, one_line(file.path.as_str())))
                .collect(),
            Answer::Deleted(reply) => vec![format!("deleted {}", reply.filename)],
        }
    }

    /// What there is to know besides.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        match self {
            Answer::Uploaded(reply) => vec![format!("{} bytes, BLAKE3 {}", reply.size, reply.hash)],
            Answer::Downloaded { path, size, to: Some(to) } => {
                vec![format!("{path}: {size} bytes are in {}", to.display())]
            }
            Answer::Downloaded { .. } | Answer::Deleted(_) => Vec::new(),
            Answer::Files(reply) => {
                let bytes: u64 = reply.files.iter().map(|file| file.size).sum();
                let mut lines =
                    vec![format!("bytes, nodes that have it, path; {} files, {bytes} bytes", reply.files.len())];
                lines.extend(
                    reply
                        .conflicts
                        .iter()
                        .map(|conflict| format!("{} was written at the same time as {}", conflict.copy, conflict.path)),
                );
                lines
            }
        }
    }

    /// All of it, as the node said it.
    #[must_use]
    pub fn document(&self) -> serde_json::Value {
        match self {
            Answer::Uploaded(reply) => serde_json::to_value(reply).unwrap_or_default(),
            Answer::Downloaded { path, size, to } => {
                serde_json::json!({ "status": "downloaded", "filename": path, "size": size, "to": to })
            }
            Answer::Files(reply) => serde_json::to_value(reply).unwrap_or_default(),
            Answer::Deleted(reply) => serde_json::to_value(reply).unwrap_or_default(),
        }
    }
}

impl From<Answer> for Outcome {
    /// As the prompt shows it: nothing that would move a cursor.
    fn from(answer: Answer) -> Self {
        let lines = answer.lines().into_iter().chain(answer.remarks());
        Self { lines: lines.map(|line| one_line(&line)).collect() }
    }
}

fn held(holders: u32) -> String {
    match holders {
        1 => "so far on one node only".to_owned(),
        many => format!("on {many} nodes' disks"),
    }
}

#[cfg(test)]
mod tests {
    use p2pnet_shared::{UnixMillis, api::FileRow, wire::folder::FolderDigest};

    use super::*;

    #[test]
    fn a_file_keeps_its_name_unless_another_is_given() {
        assert_eq!(named_like(Path::new("/tmp/photo.jpg")).unwrap().as_str(), "photo.jpg");
        for path in ["/", "..", "a/.."] {
            assert!(named_like(Path::new(path)).unwrap_err().hint.unwrap().contains("--as"), "{path}");
        }
    }

    #[test]
    fn where_a_download_goes() {
        assert_eq!(target(Some("-".into())).unwrap(), Target::Stdout);
        assert_eq!(target(Some("a/b".into())).unwrap(), Target::File("a/b".into()));
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        let (node, path) = (NodeName::numbered(7), "a\nb".parse::<FilePath>().unwrap());
        let refusal = |status| ClientError::Refused { status, error: "no".into() };
        let missing = explain(&FileAct::Delete(path.clone()), &node, &refusal(404));
        assert_eq!(missing.to_string(), "error: there is no file `a b`\nhint: `p2pnet files` lists them");
        for status in [503, 507] {
            let upload = FileAct::Upload { from: "x".into(), to: path.clone() };
            assert!(explain(&upload, &node, &refusal(status)).hint.is_some(), "{status}");
        }
    }

    #[test]
    fn a_list_is_for_pipes_and_a_name_moves_no_cursor() {
        let row = FileRow {
            path: "a\u{1b}[2J".parse().unwrap(),
            size: 5,
            hash: Root::of(b"apple"),
            modified: UnixMillis(1),
            holders: 3,
        };
        let answer = Answer::Files(FilesReply { files: vec![row], conflicts: Vec::new(), digest: FolderDigest(7) });
        assert_eq!(answer.lines(), ["           5      3  a [2J"]);
        assert_eq!(answer.document()["files"][0]["holders"], 3);
    }
}
