//! The shared folder over HTTP against the contract: every row and every error, through real sockets and on real disks.
#![allow(clippy::disallowed_methods, reason = "tests of the runtime live in real time")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use p2pnet_node::{NodeHandle, Settings, config::SyncFolder, start, time::Millis};
use p2pnet_shared::{
    FilePath,
    api::FilesReply,
    client::{Client, ClientError},
    wire::folder::Root,
};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use support::{all_agree, get, metric, post, settings, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A node and its folder, which is removed at the end.
struct House {
    node: NodeHandle,
    disk: tempfile::TempDir,
}

impl House {
    async fn start(test: &str, name: &str, bootstrap: Option<&NodeHandle>, change: impl FnOnce(&mut Settings)) -> Self {
        let disk = tempfile::tempdir().unwrap();
        let node = start(housed(test, name, bootstrap, disk.path(), change)).await.unwrap();
        Self { node, disk }
    }

    fn folder(&self) -> PathBuf {
        self.disk.path().join("sync")
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.folder().join(path)).ok()
    }

    fn write(&self, path: &str, contents: &[u8]) {
        let path = self.folder().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    fn client(&self) -> Client {
        Client::new(&self.node.url()).unwrap()
    }

    async fn upload(&self, path: &str, contents: &[u8]) -> (u16, Value) {
        send_form(&self.node, &form(Some(path), contents)).await
    }

    async fn files(&self) -> FilesReply {
        self.client().files().await.unwrap()
    }

    /// The plain files of the folder, sorted, with their contents.
    fn on_disk(&self) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        let mut folders = vec![self.folder()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.ends_with(".p2pnet") {
                    folders.push(path);
                } else if path.is_file() {
                    let name = path.strip_prefix(self.folder()).unwrap().to_string_lossy().into_owned();
                    all.push((name, fs::read(path).unwrap()));
                }
            }
        }
        all.sort();
        all
    }
}

fn housed(
    test: &str,
    name: &str,
    bootstrap: Option<&NodeHandle>,
    disk: &Path,
    change: impl FnOnce(&mut Settings),
) -> Settings {
    let mut settings = settings(test, name);
    settings.sync = SyncFolder::Required(disk.join("sync"));
    settings.bootstrap = bootstrap.map(|node| node.url().parse().unwrap());
    change(&mut settings);
    settings
}

async fn alone(test: &str) -> House {
    House::start(test, "node7", None, |_| ()).await
}

/// Two nodes that know of one another, and wait for each other on a busy machine too.
async fn pair(test: &str) -> (House, House) {
    pair_with(test, support::DEADLINE).await
}

/// The same; an upload waits so long for the other.
async fn pair_with(test: &str, patience: Duration) -> (House, House) {
    let patience = Millis(u64::try_from(patience.as_millis()).unwrap());
    let one = House::start(test, "node1", None, |settings| settings.folder.upload_patience = patience).await;
    let change = |settings: &mut Settings| settings.folder.upload_patience = patience;
    let two = House::start(test, "node2", Some(&one.node), change).await;
    until("they meet", || async { (support::live(&one.node).await == ["node2"]).then_some(()) }).await;
    until("they meet", || async { (support::live(&two.node).await == ["node1"]).then_some(()) }).await;
    (one, two)
}

fn path(path: &str) -> FilePath {
    path.parse().unwrap()
}

/// Bytes that do not repeat.
fn bytes(length: usize, seed: u8) -> Vec<u8> {
    let mut reader = blake3::Hasher::new().update(&[seed]).finalize_xof();
    let mut bytes = vec![0; length];
    reader.fill(&mut bytes);
    bytes
}

/// A form with one file, as curl sends it.
fn form(filename: Option<&str>, contents: &[u8]) -> Vec<u8> {
    let filename = filename.map_or_else(String::new, |name| format!("; filename=\"{name}\""));
    let head =
        format!("--XX\r\nContent-Disposition: form-data; name=\"file\"{filename}\r\nContent-Type: text/plain\r\n\r\n");
    [head.as_bytes(), contents, b"\r\n--XX--\r\n"].concat()
}

async fn send_form(node: &NodeHandle, body: &[u8]) -> (u16, Value) {
    let request = reqwest::Client::new().post(format!("{}/upload", node.url()));
    let request = request.header(header::CONTENT_TYPE, "multipart/form-data; boundary=XX").body(body.to_vec());
    let reply = request.send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

async fn ask(node: &NodeHandle, method: Method, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let mut request = reqwest::Client::new().request(method, format!("{}{path}", node.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn downloaded(node: &NodeHandle, path: &str) -> Option<Vec<u8>> {
    let reply = ask(node, Method::GET, &format!("/download/{path}"), &[]).await;
    match reply.status() {
        StatusCode::OK => Some(reply.bytes().await.unwrap().to_vec()),
        StatusCode::NOT_FOUND => None,
        other => panic!("{path} at {}: {other} {}", node.name, reply.text().await.unwrap()),
    }
}

fn error(value: &Value) -> &str {
    value["error"].as_str().unwrap_or_else(|| panic!("no `error` in {value}"))
}

#[tokio::test]
async fn what_is_uploaded_at_one_node_is_downloaded_from_another() {
    let (one, two) = pair("files-pair").await;
    let sizes = [0, 1, 255, 256 * 1024, 256 * 1024 + 1, 300_000, 1_048_576, 5 * 1_048_576 + 7];
    for (at, size) in sizes.into_iter().enumerate() {
        let (name, contents) = (format!("dir {at}/file-{size}.bin"), bytes(size, u8::try_from(at).unwrap()));
        let hash = Root::of(&contents).to_string();
        let (code, reply) = one.upload(&name, &contents).await;
        let uploaded = json!({"status": "uploaded", "filename": name, "size": size, "hash": hash, "holders": 2});
        assert_eq!((code, reply), (201, uploaded));
        assert_eq!(one.read(&name).as_ref(), Some(&contents), "under its name as soon as it is acknowledged");
        assert_eq!(two.read(&name).as_ref(), Some(&contents), "on the other node's disk too");
        let found = downloaded(&two.node, &name.replace(' ', "%20")).await;
        assert!(found.as_ref() == Some(&contents), "{size} bytes");
    }
    let (ours, theirs) = (one.files().await, two.files().await);
    assert_eq!(ours.digest, theirs.digest);
    assert_eq!(ours.files.len(), sizes.len());
    assert!(ours.files.is_sorted_by_key(|file| file.path.clone()) && ours.conflicts.is_empty());
    assert!(
        ours.files.iter().chain(&theirs.files).all(|file| file.holders == 2 && file.modified.0 > 1_600_000_000_000)
    );
    assert_eq!(support::status(&two.node).await.files, Some(sizes.len() as u64));
    assert_eq!(metric(&two.node, "files_here").await, sizes.len() as u64);
    assert!(metric(&two.node, "file_received_bytes_total").await >= 5 * 1_048_576);
    assert_eq!(metric(&one.node, "file_packets_refused_total").await, 0);
}

#[tokio::test]
async fn a_download_has_a_tag_and_ranges() {
    let house = alone("files-range").await;
    let contents = bytes(400_000, 1);
    let (code, reply) = house.upload("a.bin", &contents).await;
    assert_eq!((code, &reply["holders"]), (202, &json!(1)), "only this node has it");
    let tag = format!("\"{}\"", reply["hash"].as_str().unwrap());
    let node = &house.node;
    let whole = ask(node, Method::GET, "/download/a.bin", &[]).await;
    assert_eq!(whole.status(), 200);
    for (name, value) in [("etag", &*tag), ("content-length", "400000"), ("accept-ranges", "bytes")] {
        assert_eq!(whole.headers()[name], value);
    }
    assert_eq!(whole.headers()["content-type"], "application/octet-stream");
    assert_eq!(whole.bytes().await.unwrap(), contents);
    let head = ask(node, Method::HEAD, "/download/a.bin", &[]).await;
    assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &"400000".parse().unwrap()));
    assert!(head.bytes().await.unwrap().is_empty());
    for (range, first, last) in
        [("bytes=0-0", 0, 0), ("bytes=131071-262145", 131_071, 262_145), ("bytes=-5", 399_995, 399_999)]
    {
        let part = ask(node, Method::GET, "/download/a.bin", &[("range", range), ("if-range", &tag)]).await;
        assert_eq!(part.status(), 206);
        assert_eq!(part.headers()["content-range"], format!("bytes {first}-{last}/400000"));
        assert_eq!(part.headers()["content-length"], (last - first + 1).to_string());
        assert_eq!(part.bytes().await.unwrap(), contents[first..=last]);
    }
    for headers in
        [[("range", "bytes=0-1,5-6"), ("accept", "*/*")], [("range", "bytes=0-1"), ("if-range", "\"other\"")]]
    {
        let whole = ask(node, Method::GET, "/download/a.bin", &headers).await;
        assert_eq!((whole.status().as_u16(), whole.bytes().await.unwrap().len()), (200, 400_000));
    }
    let none = ask(node, Method::GET, "/download/a.bin", &[("range", "bytes=400000-")]).await;
    assert_eq!((none.status().as_u16(), &none.headers()["content-range"]), (416, &"bytes */400000".parse().unwrap()));
    assert!(error(&none.json().await.unwrap()).contains("400000 bytes"));
    let same = ask(node, Method::GET, "/download/a.bin", &[("if-none-match", &tag)]).await;
    assert_eq!((same.status().as_u16(), same.headers()["etag"].to_str().unwrap()), (304, &*tag));
    assert!(same.bytes().await.unwrap().is_empty());
    assert_eq!(get(node, "/download/none").await.0, 404);
    assert_eq!(get(node, "/download/a.bin/b").await.0, 404);
}

#[tokio::test]
async fn what_is_unsafe_or_no_file_is_refused_and_changes_nothing() {
    let house = alone("files-bad").await;
    let long = "x".repeat(256);
    let deep = format!("{}b", "a/".repeat(600));
    for name in
        ["..", "../a", "a/../../b", "/etc/passwd", "a//b", "a/", ".p2pnet/folder", ".p2pnet", "a\0b", &long, &deep, ""]
    {
        let (code, reply) = house.upload(name, b"evil").await;
        assert!(code == 400 && !error(&reply).is_empty(), "{name:?}: {code} {reply}");
    }
    let other = b"--XX\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a\"\r\n\r\nx\r\n--XX--\r\n";
    let twice = [form(Some("a"), b"1").strip_suffix(b"--\r\n").unwrap(), b"\r\n", &form(Some("b"), b"2")[6..]].concat();
    let latin = b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\xfc\"\r\n\r\nx\r\n--XX--\r\n";
    for (body, part) in [
        (&form(None, b"x")[..], "no file name"),
        (other, "no field `file`"),
        (b"--XX--\r\n", "no field `file`"),
        (b"", "broke off"),
        (b"{}", "broke off"),
        (&form(Some("a"), b"cut short")[..60], "broke off"),
        (&twice, "two files"),
        (latin, "UTF-8"),
    ] {
        let (code, reply) = send_form(&house.node, body).await;
        assert!(code == 400 && error(&reply).contains(part), "{part}: {code} {reply}");
    }
    let (code, reply) = post(&house.node, "/upload", "just bytes").await;
    assert!(code == 400 && error(&reply).contains("curl -F"), "{reply}");
    for given in ["%2e%2e", "a/%2e%2e/b", "%2Fetc%2Fpasswd", ".p2pnet/folder", "%00", "%ff", "%", "", &*long] {
        for (method, beginning) in [("GET", "/download/"), ("DELETE", "/files/"), ("PUT", "/files/")] {
            let (code, reply) =
                raw(&house.node, &format!("{method} {beginning}{given} HTTP/1.1\r\ncontent-length: 0\r\n"), b"").await;
            assert!(code == 400 && !error(&reply).is_empty(), "{method} {given}: {code} {reply}");
        }
    }
    for (method, path) in
        [(Method::POST, "/files"), (Method::PUT, "/upload"), (Method::DELETE, "/download/a"), (Method::GET, "/rescan")]
    {
        assert_eq!(ask(&house.node, method, path, &[]).await.status(), 405, "{path}");
    }
    assert_eq!(house.files().await.files, []);
    assert_eq!(house.on_disk(), []);
    assert_eq!(fs::read_dir(house.folder().join(".p2pnet/uploads")).unwrap().count(), 0, "nothing is left behind");
    assert_eq!(fs::read_dir(house.disk.path()).unwrap().count(), 1, "nothing beside the folder");
}

/// A request as it stands, and its reply.
async fn raw(node: &NodeHandle, head: &str, body: &[u8]) -> (u16, Value) {
    let mut stream = TcpStream::connect(node.addr).await.unwrap();
    stream.write_all(format!("{head}host: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    let reply = String::from_utf8_lossy(&reply);
    let code = reply.split(' ').nth(1).unwrap().parse().unwrap();
    let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (code, serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test]
async fn too_much_too_slow_and_gone_half_way_leave_nothing() {
    let house = House::start("files-limits", "node7", None, |settings| {
        settings.limits.file_bytes = 200_000;
        settings.limits.body_timeout = Duration::from_millis(300);
    })
    .await;
    assert_eq!(house.upload("fits", &bytes(200_000, 1)).await.0, 202);
    let (code, reply) = house.upload("larger", &bytes(200_001, 2)).await;
    assert!(code == 413 && error(&reply).contains("200000 bytes"), "{code} {reply}");
    let much = ask_put(&house.node, "larger", &bytes(3_000_000, 3), &[]).await;
    assert_eq!(much.status(), 413);
    let (code, _) = house.upload("larger", &bytes(3_000_000, 3)).await;
    assert_eq!(code, 413);
    let beside =
        [b"--XX\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n", &*bytes(70_000, 4), b"\r\n--XX--\r\n"]
            .concat();
    assert_eq!(send_form(&house.node, &beside).await.0, 413);
    // A sender that stops, and one that goes away.
    let head = "PUT /files/slow HTTP/1.1\r\ncontent-length: 100000\r\n";
    let (code, reply) = raw(&house.node, head, &bytes(50_000, 5)).await;
    assert!(code == 400 && error(&reply).contains("broke off"), "{code} {reply}");
    let mut gone = TcpStream::connect(house.node.addr).await.unwrap();
    gone.write_all(format!("{head}host: x\r\n\r\n").as_bytes()).await.unwrap();
    gone.write_all(&bytes(40_000, 6)).await.unwrap();
    drop(gone);
    let uploads = house.folder().join(".p2pnet/uploads");
    until("nothing is left", || async { (fs::read_dir(&uploads).unwrap().count() == 0).then_some(()) }).await;
    assert_eq!(house.on_disk().len(), 1);
}

async fn ask_put(node: &NodeHandle, path: &str, body: &[u8], headers: &[(&str, &str)]) -> reqwest::Response {
    let mut request = reqwest::Client::new().put(format!("{}/files/{path}", node.url())).body(body.to_vec());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_put_replaces_what_it_has_seen_and_nothing_else() {
    let house = alone("files-match").await;
    let client = house.client();
    let first = client.upload(&path("a/b.txt"), 3, "one").await.unwrap();
    assert_eq!((first.size, first.hash), (3, Root::of(b"one")));
    let tag = format!("\"{}\"", first.hash);
    assert_eq!(ask_put(&house.node, "a/b.txt", b"no", &[("if-match", "\"00\"")]).await.status(), 412);
    assert_eq!(ask_put(&house.node, "new", b"no", &[("if-match", "*")]).await.status(), 412);
    assert_eq!(house.read("a/b.txt").unwrap(), b"one");
    let second = ask_put(&house.node, "a/b.txt", b"two", &[("if-match", &tag)]).await;
    assert_eq!(
        (second.status().as_u16(), &second.headers()["etag"]),
        (202, &format!("\"{}\"", Root::of(b"two")).parse().unwrap())
    );
    assert_eq!(house.read("a/b.txt").unwrap(), b"two");
    // A file where a folder would have to be.
    let blocked = ask_put(&house.node, "a/b.txt/c", b"below", &[]).await;
    assert!(blocked.status().is_client_error() || blocked.status().is_success(), "{}", blocked.status());
    assert_eq!(fs::read_dir(house.folder().join(".p2pnet/uploads")).unwrap().count(), 0);
    let mut download = client.download(&path("a/b.txt")).await;
    if let Ok(download) = &mut download {
        assert_eq!(download.hash(), Some(&*Root::of(b"two").to_string()));
        assert_eq!(download.chunk().await.unwrap().unwrap(), "two");
        assert_eq!(download.chunk().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_deleted_file_is_gone_everywhere_and_may_come_again() {
    let (one, two) = pair("files-delete").await;
    assert_eq!(one.upload("a/b.txt", b"first").await.0, 201);
    assert_eq!(two.upload("a/b.txt", b"second").await.0, 201);
    until("the second is on both", || async { (one.read("a/b.txt")? == b"second").then_some(()) }).await;
    let deleted = two.client().delete_file(&path("a/b.txt")).await.unwrap();
    assert_eq!((deleted.status.as_str(), deleted.filename.as_str()), ("deleted", "a/b.txt"));
    for house in [&one, &two] {
        until("it is gone", || async { house.read("a/b.txt").is_none().then_some(()) }).await;
        until("it is not found", || async { downloaded(&house.node, "a/b.txt").await.is_none().then_some(()) }).await;
        let again = house.client().delete_file(&path("a/b.txt")).await.unwrap_err();
        assert!(matches!(again, ClientError::Refused { status: 404, .. }), "{again}");
    }
    assert_eq!(one.upload("a/b.txt", b"third").await.0, 201);
    assert_eq!(two.read("a/b.txt").unwrap(), b"third");
    assert!(one.files().await.conflicts.is_empty());
}

#[tokio::test]
async fn whatever_is_done_in_a_folder_is_done_in_all() {
    let (one, two) = pair("files-drop").await;
    let contents = bytes(700_000, 9);
    one.write("photos/a.jpg", &contents);
    until("it lands", || async { (two.read("photos/a.jpg")? == contents).then_some(()) }).await;
    fs::write(two.folder().join("photos/a.jpg"), b"smaller").unwrap();
    until("the edit lands", || async { (one.read("photos/a.jpg")? == b"smaller").then_some(()) }).await;
    fs::rename(one.folder().join("photos"), one.folder().join("pictures")).unwrap();
    until("the new name is there", || async { (two.read("pictures/a.jpg")? == b"smaller").then_some(()) }).await;
    until("the old name is gone", || async { two.read("photos/a.jpg").is_none().then_some(()) }).await;
    fs::remove_file(two.folder().join("pictures/a.jpg")).unwrap();
    until("the removal lands", || async { one.read("pictures/a.jpg").is_none().then_some(()) }).await;
    // What is not watched is found when somebody asks for a look.
    one.write("later.txt", b"later");
    one.client().rescan().await.unwrap();
    until("it lands", || async { (two.read("later.txt")? == b"later").then_some(()) }).await;
    let (ours, theirs) = (one.files().await, two.files().await);
    assert_eq!((ours.digest, ours.conflicts.len(), theirs.conflicts.len()), (theirs.digest, 0, 0));
}

#[tokio::test]
async fn two_sides_of_a_cut_that_edit_one_file_both_keep_their_work() {
    let (one, two) = pair_with("files-cut", Duration::from_secs(1)).await;
    one.upload("a.txt", b"base").await;
    until("both have it", || async { (two.read("a.txt")? == b"base").then_some(()) }).await;
    let cut = r#"{"cut":{"from":"1","to":"2"}}"#;
    for house in [&one, &two] {
        assert_eq!(post(&house.node, "/fault", cut).await.0, 200);
    }
    assert_eq!(one.upload("a.txt", b"ours").await.0, 202);
    assert_eq!(two.upload("a.txt", b"theirs").await.0, 202);
    for house in [&one, &two] {
        house.client().heal(None).await.unwrap();
    }
    let same = || async {
        let (ours, theirs) = (one.on_disk(), two.on_disk());
        (ours.len() == 2 && ours == theirs).then_some(ours)
    };
    let files = until("both have both", same).await;
    let contents: Vec<&[u8]> = files.iter().map(|(_, contents)| contents.as_slice()).collect();
    assert!(contents.contains(&&b"ours"[..]) && contents.contains(&&b"theirs"[..]), "{files:?}");
    for house in [&one, &two] {
        let listed = house.files().await;
        let [conflict] = listed.conflicts.as_slice() else { panic!("{listed:?}") };
        assert_eq!(conflict.path, path("a.txt"));
        assert!(files.iter().any(|(name, _)| *name == conflict.copy.as_str()));
    }
    // Whoever has seen both and writes again leaves the copy alone; whoever deletes it has solved it.
    let copy = one.files().await.conflicts[0].copy.clone();
    two.client().delete_file(&copy).await.unwrap();
    until("one file is left", || async { (one.on_disk().len() == 1 && two.on_disk().len() == 1).then_some(()) }).await;
    assert!(one.files().await.conflicts.is_empty());
}

#[tokio::test]
async fn a_node_that_comes_back_with_its_folder_gets_what_it_missed() {
    let (one, two) = pair_with("files-back", Duration::from_secs(1)).await;
    one.upload("kept.txt", b"kept").await;
    one.upload("old.txt", b"old").await;
    until("both have both", || async { (two.on_disk().len() == 2).then_some(()) }).await;
    let House { node, disk } = two;
    node.kill().await;
    fs::write(disk.path().join("sync/while-away.txt"), b"written while it was away").unwrap();
    assert_eq!(one.upload("missed.bin", &bytes(900_000, 3)).await.0, 202);
    one.client().delete_file(&path("old.txt")).await.unwrap();
    let node = start(housed("files-back", "node2", Some(&one.node), disk.path(), |_| ())).await.unwrap();
    let two = House { node, disk };
    until("the same on both", || async {
        let (ours, theirs) = (one.on_disk(), two.on_disk());
        (ours.len() == 3 && ours == theirs).then_some(())
    })
    .await;
    assert!(one.files().await.conflicts.is_empty() && one.read("old.txt").is_none());
    all_agree(&[one.node, two.node]).await;
}

#[tokio::test]
async fn a_node_without_a_folder_says_so_and_two_do_not_share_one() {
    let node = start(settings("files-none", "node7")).await.unwrap();
    for (method, path) in [
        (Method::POST, "/upload"),
        (Method::GET, "/files"),
        (Method::GET, "/download/a"),
        (Method::PUT, "/files/a"),
        (Method::DELETE, "/files/a"),
        (Method::POST, "/rescan"),
    ] {
        let reply = ask(&node, method, path, &[]).await;
        assert_eq!(reply.status(), 503, "{path}");
        assert!(error(&reply.json().await.unwrap()).contains("--sync"));
    }
    assert_eq!(support::status(&node).await.files, None);
    let house = alone("files-taken").await;
    let second = start(housed("files-taken", "node8", None, house.disk.path(), |_| ())).await.unwrap_err();
    assert!(second.to_string().contains("another node") && second.hint().contains("--sync"), "{second}");
    let file = house.disk.path().join("file");
    fs::write(&file, "").unwrap();
    let mut settings = settings("files-taken", "node8");
    settings.sync = SyncFolder::Required(file);
    let error = start(settings).await.unwrap_err();
    assert!(error.to_string().contains("cannot be used") && error.hint().contains("--sync"), "{error}");
}

#[tokio::test]
async fn readers_of_events_hear_of_files() {
    let (one, two) = pair("files-events").await;
    let mut events = reqwest::get(format!("{}/events", two.node.url())).await.unwrap();
    let mut heard = String::new();
    assert_eq!(one.upload("news.txt", b"news").await.0, 201);
    let hearing = async {
        while !heard.contains("event: file_landed") {
            heard.push_str(&String::from_utf8_lossy(&events.chunk().await.unwrap().unwrap()));
        }
    };
    tokio::time::timeout(support::DEADLINE, hearing).await.expect("in time");
    assert!(heard.contains("news.txt") && heard.contains(&Root::of(b"news").to_string()), "{heard}");
}
