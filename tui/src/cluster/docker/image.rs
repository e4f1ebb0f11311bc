//! The image: one static executable, imported as it is. No builder, no registry, no base image.
//!
//! The image is found again by a label with the executable's content hash, so a second start imports nothing, and is
//! used by its id, so two p2pnets of different builds do not fight over the tags.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    time::Duration,
};

use bollard::{
    Docker,
    query_parameters::{
        CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder,
    },
};
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::{cause, failure};
use crate::{cluster::watch, failure::Failure};

/// The repository of every image of ours.
pub(super) const REPOSITORY: &str = "p2p-node";

const HASH_LABEL: &str = "p2pnet.hash";

/// Whom `docker run` without p2pnet runs as: nobody in particular.
const ANYBODY: &str = "65532:65532";

/// An image nobody uses and that is older than this goes when a new one comes: each rebuild leaves one.
const KEEP_OLD_IMAGES: Duration = Duration::from_secs(24 * 60 * 60);

/// The id of the image that holds `binary`, imported if it is not there.
pub(super) async fn ensure(docker: &Docker, binary: &Path) -> Result<String, Failure> {
    let path = binary.to_owned();
    let (hash, contents) = tokio::task::spawn_blocking(move || read_static(&path))
        .await
        .map_err(|error| Failure::new(format!("could not read `{}`: {error}", binary.display())))??;
    if let Some(id) = find(docker, &hash).await? {
        return Ok(id);
    }
    import(docker, &hash, &contents).await?;
    remove_old(docker, &hash).await;
    find(docker, &hash).await?.ok_or_else(|| Failure::new("the engine took the image but does not list it"))
}

async fn find(docker: &Docker, hash: &str) -> Result<Option<String>, Failure> {
    let filters = HashMap::from([("label", vec![format!("{HASH_LABEL}={hash}")])]);
    let options = ListImagesOptionsBuilder::default().filters(&filters).build();
    let images = docker.list_images(Some(options)).await.map_err(|e| failure("could not list images", &e))?;
    // Two imports at once make two images; everybody takes the same one afterwards.
    Ok(images.into_iter().map(|image| image.id).min())
}

async fn import(docker: &Docker, hash: &str, contents: &[u8]) -> Result<(), Failure> {
    let could_not = "could not import the running executable as an image";
    let archive = archive(contents).map_err(|error| Failure::new(format!("{could_not}: {error}")))?;
    let changes = vec![
        r#"ENTRYPOINT ["/p2pnet"]"#.to_owned(),
        r#"CMD ["node"]"#.to_owned(),
        format!("USER {ANYBODY}"),
        "EXPOSE 5000".to_owned(),
        // A node that was told of nobody looks around; those we start have a bootstrap and keep quiet.
        "ENV LAN=auto".to_owned(),
        format!("LABEL {HASH_LABEL}={hash}"),
    ];
    // A tag of its own keeps it from dangling when the next build takes the others.
    let own_tag = &hash[..12];
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(REPOSITORY)
        .tag(own_tag)
        .changes(changes)
        .message("imported by p2pnet")
        .build();
    let body = bollard::body_full(Bytes::from(archive));
    docker
        .create_image(Some(options), Some(body), None)
        .try_for_each(|_| async { Ok(()) })
        .await
        .map_err(|e| failure(could_not, &e))?;
    for tag in [env!("CARGO_PKG_VERSION"), "latest"] {
        let options = TagImageOptionsBuilder::default().repo(REPOSITORY).tag(tag).build();
        let tagged = docker.tag_image(&format!("{REPOSITORY}:{own_tag}"), Some(options)).await;
        tagged.map_err(|e| failure("could not tag the image", &e))?;
    }
    Ok(())
}

/// Removes what earlier builds left. Whatever is in use, the engine refuses to remove, and that is fine.
async fn remove_old(docker: &Docker, hash: &str) {
    let filters = HashMap::from([("label", vec![HASH_LABEL])]);
    let options = ListImagesOptionsBuilder::default().filters(&filters).build();
    let Ok(images) = docker.list_images(Some(options)).await else { return };
    let newest = i64::try_from(watch::now().0 / 1000).unwrap_or(i64::MAX) - KEEP_OLD_IMAGES.as_secs().cast_signed();
    for image in images {
        if image.created > newest || image.labels.get(HASH_LABEL).is_some_and(|label| label == hash) {
            continue;
        }
        let names = if image.repo_tags.is_empty() { vec![image.id] } else { image.repo_tags };
        for name in names {
            if let Err(error) = docker.remove_image(&name, None::<RemoveImageOptions>, None).await {
                tracing::debug!(image = name, "an old image stays: {}", cause(&error));
            }
        }
    }
}

/// A root file system: the executable, and the two folders a node writes to when nothing is mounted there.
fn archive(contents: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::with_capacity(contents.len() + 8192));
    // The engine rejects GNU sparse entries.
    tar.sparse(false);
    let header = |kind, mode, size| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header
    };
    for folder in ["data/", "sync/"] {
        // Anybody may write: `docker run --user` names who it is.
        tar.append_data(&mut header(tar::EntryType::Directory, 0o777, 0), folder, std::io::empty())?;
    }
    tar.append_data(&mut header(tar::EntryType::Regular, 0o755, contents.len() as u64), "p2pnet", contents)?;
    tar.into_inner()
}

/// The content hash and the contents of an executable that runs without any library beside it.
fn read_static(path: &Path) -> Result<(String, Vec<u8>), Failure> {
    let unreadable =
        |error| Failure::new(format!("could not read `{}` to make an image of it: {error}", path.display()));
    let mut file = File::open(path).map_err(unreadable)?;
    let mut header = Vec::new();
    file.by_ref().take(64 * 1024).read_to_end(&mut header).map_err(unreadable)?;
    check_static(&header).map_err(|why| {
        Failure::new(format!("`{}` cannot be a container's image: {why}", path.display()))
            .hint("build the image with `docker build -f docker/Dockerfile .`, or run without containers: `--runtime process`")
    })?;
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut contents = Vec::new();
    file.read_to_end(&mut contents).map_err(unreadable)?;
    Ok((blake3::hash(&contents).to_hex().to_string(), contents))
}

/// Whether these are the first bytes of a 64-bit Linux executable that names no interpreter (ELF-64, `PT_INTERP`).
fn check_static(bytes: &[u8]) -> Result<(), &'static str> {
    const PT_INTERP: u32 = 3;
    const CUT_OFF: &str = "it is cut off";
    let word = |at: usize, size: usize| -> Option<u64> {
        let field = bytes.get(at..at.checked_add(size)?)?;
        Some(field.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    };
    if bytes.get(..6) != Some(&[0x7f, b'E', b'L', b'F', 2, 1]) {
        return Err("it is no 64-bit Linux executable");
    }
    let first = usize::try_from(word(0x20, 8).ok_or(CUT_OFF)?).map_err(|_| CUT_OFF)?;
    let (size, count) = (word(0x36, 2).ok_or(CUT_OFF)?, word(0x38, 2).ok_or(CUT_OFF)?);
    for entry in 0..count {
        let at = usize::try_from(entry * size).ok().and_then(|offset| first.checked_add(offset)).ok_or(CUT_OFF)?;
        if word(at, 4).ok_or(CUT_OFF)? == u64::from(PT_INTERP) {
            return Err("it is not linked statically");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header with one program header of type `kind`.
    fn elf(kind: u32) -> Vec<u8> {
        let mut bytes = vec![0; 0x40];
        bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        bytes[0x20] = 0x40;
        bytes[0x36] = 56;
        bytes[0x38] = 1;
        bytes.extend(kind.to_le_bytes());
        bytes.extend([0; 52]);
        bytes
    }

    #[test]
    fn only_static_linux_executables_become_images() {
        assert_eq!(check_static(&elf(1)), Ok(()));
        assert_eq!(check_static(&elf(3)), Err("it is not linked statically"));
        assert_eq!(check_static(b"#!/bin/sh"), Err("it is no 64-bit Linux executable"));
        assert_eq!(check_static(&elf(1)[..0x30]), Err("it is cut off"));
        let mut far = elf(1);
        far[0x20..0x28].fill(0xff);
        assert_eq!(check_static(&far), Err("it is cut off"), "an offset beyond the end");
    }

    #[test]
    fn the_archive_holds_the_executable_and_two_folders() {
        let bytes = archive(b"hello").unwrap();
        let mut names = Vec::new();
        for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let entry = entry.unwrap();
            names.push((entry.path().unwrap().display().to_string(), entry.header().mode().unwrap(), entry.size()));
        }
        assert_eq!(
            names,
            [("data/".to_owned(), 0o777, 0), ("sync/".to_owned(), 0o777, 0), ("p2pnet".to_owned(), 0o755, 5)]
        );
    }
}
