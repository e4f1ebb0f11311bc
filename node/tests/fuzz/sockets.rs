//! Bytes into the one port of a real node. The node runs in this thread, so the memory counted is all of its.
#![allow(clippy::disallowed_methods, reason = "tests of the runtime live in real time")]

use std::time::Duration;

use p2pnet_node::{NodeHandle, config::SyncFolder, start};
use p2pnet_shared::wire::{Codec, FILES_PREFACE, LINK_PREFACE};
use proptest::{collection::vec, prelude::*};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    runtime::Runtime,
    time::timeout,
};

use crate::{
    hostile::{self, files, harm::harm, memory::Mark, values},
    support,
};

/// What a node may hold for one connection beside what was sent to it: buffers, and a request's parts.
const CONNECTION_BYTES: usize = 512 * 1_024;

/// A node with a secret and little patience, in a runtime of its own.
struct Victim {
    runtime: Runtime,
    node: NodeHandle,
    codec: Codec,
    disk: tempfile::TempDir,
}

impl Victim {
    fn new(test: &str, secret: Option<&str>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut settings = support::settings(test, "node1");
        let disk = tempfile::tempdir().expect("a folder");
        settings.sync = SyncFolder::Required(disk.path().join("sync"));
        settings.secret = secret.map(str::to_owned);
        settings.limits.header_timeout = Duration::from_millis(100);
        settings.limits.body_timeout = Duration::from_millis(100);
        settings.limits.frame_timeout = Duration::from_millis(100);
        settings.limits.dial_timeout = Duration::from_millis(100);
        let codec = Codec::new(&settings.network, secret);
        let node = runtime.block_on(start(settings)).expect("a node");
        Self { runtime, node, codec, disk }
    }

    /// Sends bytes on one connection and reads until the node closes it; the most memory held meanwhile.
    fn takes(&self, bytes: &[u8]) -> (Vec<u8>, usize) {
        self.exchange(bytes, true)
    }

    /// The same, with or without saying that nothing more will be said.
    fn exchange(&self, bytes: &[u8], ends: bool) -> (Vec<u8>, usize) {
        let memory = Mark::set();
        let reply = self.runtime.block_on(async {
            let mut stream = TcpStream::connect(self.node.addr).await.expect("it listens");
            let _ = stream.write_all(bytes).await;
            if ends {
                let _ = stream.shutdown().await;
            }
            let mut reply = Vec::new();
            let read = timeout(support::DEADLINE, stream.read_to_end(&mut reply)).await;
            read.expect("the node closes in time").ok();
            reply
        });
        (reply, memory.peak())
    }

    /// Whether the loop answers. Not its health: whoever is believed may say that a newer node has our name.
    fn is_well(&self) -> bool {
        let (reply, _) = self.takes(b"GET /status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        reply.starts_with(b"HTTP/1.1 200")
    }
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let rows = [
        ("GET", "/messages?since=node4-1a1fe9bf860-2&x=%ff%00", ""),
        ("GET", "/members", ""),
        ("GET", "/metrics", ""),
        ("POST", "/register", r#"{"address":"http://node9:5000","id":"7"}"#),
        ("POST", "/message", r#"{"sender":"Node1","msg":"Hello Node2!"}"#),
        ("POST", "/broadcast", r#"{"msg":"pear","ttl":3}"#),
        ("POST", "/gossip", r#"{"peers":["http://127.0.0.1:1","http://127.0.0.1:2"],"ttl":0}"#),
        ("POST", "/send", r#"{"to":"node3","msg":"x"}"#),
        ("DELETE", "/%2e%2e/%2e%2e/etc/passwd", ""),
    ];
    (0..rows.len(), any::<bool>()).prop_map(move |(which, chunked)| {
        let (method, path, body) = rows[which];
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n");
        let rest = if chunked {
            format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
        } else {
            format!("content-length: {}\r\n\r\n{body}", body.len())
        };
        (head + &rest).into_bytes()
    })
}

/// Bodies that are almost JSON: what the parser behind the route sees.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        Just("msg"),
        Just("message"),
        Just("sender"),
        Just("address"),
        Just("peers"),
        Just("ttl"),
        Just("to"),
        Just("id")
    ];
    let value = prop_oneof![
        "[a-z]{0,9}".prop_map(|text| format!("{text:?}")),
        values::number().prop_map(|number| number.to_string()),
        Just("null".to_owned()),
        Just("[\"http://127.0.0.1:1\"]".to_owned()),
        Just("1e999".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        (1_usize..400).prop_map(|depth| "[".repeat(depth) + &"]".repeat(depth)),
        (1_usize..20_000).prop_map(|length| format!("\"{}\"", "\\u0000".repeat(length / 6))),
        (1_usize..10_000).prop_map(|length| format!("[{}0]", "0,".repeat(length))),
    ];
    let fields = vec((field, value).prop_map(|(field, value)| format!("\"{field}\":{value}")), 0..5);
    (fields, vec(harm(), 0..3)).prop_map(|(fields, harms)| {
        let mut bytes = format!("{{{}}}", fields.join(",")).into_bytes();
        harms.iter().for_each(|harm| harm.to(&mut bytes));
        bytes
    })
}

#[test]
fn hurt_requests() {
    let victim = Victim::new("hurt-requests", None);
    let mut runner = proptest::test_runner::TestRunner::new(hostile::config(200));
    let hurt = (request(), vec(harm(), 0..6)).prop_map(|(mut bytes, harms)| {
        harms.iter().for_each(|harm| harm.to(&mut bytes));
        bytes
    });
    let outcome = runner.run(&hurt, |bytes| {
        let (reply, held) = victim.takes(&bytes);
        prop_assert!(held <= 64 * bytes.len() + CONNECTION_BYTES, "{} held for {} bytes", held, bytes.len());
        prop_assert!(!reply.starts_with(b"HTTP/1.1 500"), "{}", String::from_utf8_lossy(&reply));
        prop_assert!(victim.is_well());
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn hurt_bodies() {
    let victim = Victim::new("hurt-bodies", None);
    let mut runner = proptest::test_runner::TestRunner::new(hostile::config(200));
    let route = prop_oneof![Just("register"), Just("message"), Just("broadcast"), Just("gossip"), Just("send")];
    let outcome = runner.run(&(route, body()), |(route, body)| {
        let length = body.len();
        let mut bytes =
            format!("POST /{route} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")
                .into_bytes();
        bytes.extend_from_slice(&body);
        let (reply, held) = victim.takes(&bytes);
        prop_assert!(held <= 256 * length + CONNECTION_BYTES, "{} held for {}", held, length);
        let status = String::from_utf8_lossy(&reply).chars().skip(9).take(3).collect::<String>();
        prop_assert!(["200", "202", "400", "404", "413", "502"].contains(&status.as_str()), "{}", status);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(victim.is_well());
}

#[test]
fn hurt_links() {
    for secret in [None, Some("s3cret")] {
        let victim = Victim::new("hurt-links", secret);
        let mut runner = proptest::test_runner::TestRunner::new(hostile::config(100));
        let codec = victim.codec.clone();
        let said = (values::hello(), vec(values::frame(), 0..6), vec(harm(), 0..6));
        let said = said.prop_map(move |(hello, frames, harms)| {
            let mut bytes = LINK_PREFACE.to_vec();
            bytes.extend(codec.encode_frame(&hello));
            frames.iter().for_each(|frame| bytes.extend(codec.encode_frame(frame)));
            harms.iter().for_each(|harm| harm.to(&mut bytes));
            bytes
        });
        let outcome = runner.run(&said, |bytes| {
            let (_, held) = victim.takes(&bytes);
            prop_assert!(held <= 64 * bytes.len() + CONNECTION_BYTES, "{} held for {} bytes", held, bytes.len());
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
        assert!(victim.is_well());
    }
}

#[test]
fn hurt_packets_of_the_folder() {
    for secret in [None, Some("s3cret")] {
        let victim = Victim::new("hurt-files", secret);
        std::fs::write(victim.disk.path().join("canary"), "here").expect("a file");
        let mut runner = proptest::test_runner::TestRunner::new(hostile::config(60));
        let codec = victim.codec.clone();
        let said = (values::hello(), vec(files::message(), 0..6), vec(harm(), 0..6));
        let said = said.prop_map(move |(hello, messages, harms)| {
            let mut bytes = FILES_PREFACE.to_vec();
            bytes.extend(codec.encode_frame(&hello));
            messages.iter().for_each(|message| bytes.extend(codec.encode_frame(message)));
            harms.iter().for_each(|harm| harm.to(&mut bytes));
            bytes
        });
        let outcome = runner.run(&said, |bytes| {
            let (_, held) = victim.takes(&bytes);
            prop_assert!(held <= 256 * bytes.len() + CONNECTION_BYTES, "{} held for {} bytes", held, bytes.len());
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
        assert!(victim.is_well());
        let mut beside: Vec<_> = std::fs::read_dir(victim.disk.path())
            .expect("there")
            .map(|entry| entry.expect("read").file_name())
            .collect();
        beside.sort();
        assert_eq!(beside, ["canary", "sync"], "nothing outside the folder");
    }
}

#[test]
fn hurt_uploads() {
    let victim = Victim::new("hurt-uploads", None);
    let mut runner = proptest::test_runner::TestRunner::new(hostile::config(60));
    let form = (files::path(), vec(any::<u8>(), 0..2_000)).prop_map(|(path, contents)| {
        let head = format!("--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{path}\"\r\n\r\n");
        [head.as_bytes(), &contents, b"\r\n--XX--\r\n"].concat()
    });
    let said = (form, vec(harm(), 0..6)).prop_map(|(mut body, harms)| {
        harms.iter().for_each(|harm| harm.to(&mut body));
        body
    });
    let outcome = runner.run(&said, |body| {
        let length = body.len();
        let kind = "multipart/form-data; boundary=XX";
        let head = format!(
            "POST /upload HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        // A connection that is half closed counts as given up, and nothing is answered to what takes a moment.
        let (reply, held) = victim.exchange(&[head.as_bytes(), &body].concat(), false);
        prop_assert!(held <= 64 * length + CONNECTION_BYTES, "{} held for {}", held, length);
        let status = String::from_utf8_lossy(&reply).chars().skip(9).take(3).collect::<String>();
        prop_assert!(["201", "202", "400", "409", "413"].contains(&status.as_str()), "{}", status);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(victim.is_well());
    let uploads = std::fs::read_dir(victim.disk.path().join("sync/.p2pnet/uploads")).expect("there").count();
    assert_eq!(uploads, 0, "nothing is left behind");
}

#[test]
fn hurt_datagrams() {
    let victim = Victim::new("hurt-datagrams", None);
    let mut runner = proptest::test_runner::TestRunner::new(hostile::config(300));
    let (codec, memory) = (victim.codec.clone(), Mark::set());
    let hurt = (values::datagram(), vec(harm(), 0..5)).prop_map(move |(datagram, harms)| {
        let mut bytes = codec.encode(&datagram);
        harms.iter().for_each(|harm| harm.to(&mut bytes));
        bytes
    });
    let socket = victim.runtime.block_on(UdpSocket::bind("127.0.0.1:0")).expect("a socket");
    let outcome = runner.run(&hurt, |bytes| {
        // A datagram larger than the system sends is nothing a node could get.
        let _ = victim.runtime.block_on(socket.send_to(&bytes, victim.node.addr));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(victim.is_well());
    assert!(memory.kept() < 4 * 1_024 * 1_024, "{} bytes kept", memory.kept());
}
