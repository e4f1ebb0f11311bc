//! Verbs about files: `upload`, `download`, `files`, `delete-file`, each with an optional closing `--via NODE`.

use p2pnet_shared::{FilePath, NodeName};

use super::{LineError, Request, Words, via};
use crate::{
    verb::{FileAct, FileOrder, Target, Verb},
    verbs::files::named_like,
};

/// A word as a path of the shared folder.
fn file_path(words: &Words, i: usize) -> Result<FilePath, LineError> {
    let word = words.text(i).unwrap_or_default();
    word.parse().map_err(|error: p2pnet_shared::path::PathError| words.wrong(i, error.to_string()))
}

/// The words of a verb about files: `--via NODE` off the end, `least` to `most` others.
fn on_files<'a>(
    words: &'a Words<'a>,
    (least, most): (usize, usize),
    what: &str,
) -> Result<(Option<NodeName>, usize), LineError> {
    let (via, end) = via(words)?;
    if end <= least {
        return Err(words.missing(what));
    }
    if end > most + 1 {
        let text = format!("nothing is expected at `{}`; a name with spaces goes in quotes", words.list[most + 1].text);
        return Err(words.wrong(most + 1, text));
    }
    Ok((via, end))
}

fn file_order(via: Option<NodeName>, act: FileAct) -> Request {
    Request::Verb(Verb::File(FileOrder { via, act }))
}

pub(super) fn upload(words: &Words) -> Result<Request, LineError> {
    let (via, end) = on_files(words, (1, 2), "a file of this host, in quotes if its name has spaces")?;
    let from = std::path::PathBuf::from(words.text(1).unwrap_or_default());
    let to = match end {
        3 => file_path(words, 2)?,
        _ => named_like(&from).map_err(|failure| words.wrong(1, failure.error))?,
    };
    Ok(file_order(via, FileAct::Upload { from, to }))
}

pub(super) fn download(words: &Words) -> Result<Request, LineError> {
    let (via, end) = on_files(words, (1, 2), "a path of the shared folder")?;
    let path = file_path(words, 1)?;
    let to = if end == 3 { words.text(2).unwrap_or_default() } else { path.name() };
    let to = Target::File(to.into());
    Ok(file_order(via, FileAct::Download { path, to }))
}

pub(super) fn files(words: &Words) -> Result<Request, LineError> {
    let (via, _) = on_files(words, (0, 0), "")?;
    Ok(file_order(via, FileAct::List))
}

pub(super) fn delete_file(words: &Words) -> Result<Request, LineError> {
    let (via, _) = on_files(words, (1, 1), "a path of the shared folder")?;
    Ok(file_order(via, FileAct::Delete(file_path(words, 1)?)))
}
