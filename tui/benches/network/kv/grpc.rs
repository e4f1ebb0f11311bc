//! Puts to etcd in its own tongue: gRPC over HTTP/2, as little of it as a put needs.
//!
//! ```text
//! HEADERS (nothing indexed, so no state)  DATA (0, length, key, value)   ──▶
//!                ◀──  HEADERS   DATA (PutResponse)   HEADERS with END_STREAM
//! ```
//! A put that fails has no DATA: gRPC says so in its only HEADERS. Sources: RFC 9113 §4–6, RFC 7541 §6.2.2, gRPC's
//! `PROTOCOL-HTTP2.md`, etcd's `rpc.proto` (`PutRequest { bytes key = 1; bytes value = 2; }`).
//!
//! What it costs etcd compared to ours over HTTP/1.1 and JSON: less. A request is 300 bytes of frames and protobuf, an
//! answer needs no JSON, and this is what etcd's own clients and its `benchmark` speak; its JSON gateway would add a
//! second HTTP server and a gRPC client of its own before the same code.

use std::sync::Arc;

use super::{
    keys::{Keys, VALUE_BYTES},
    load::{Step, Talk},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// On SETTINGS and PING.
const ACK: u8 = 1;
/// On DATA and HEADERS.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const FRAME_HEAD: usize = 9;

/// Puts keys `first`, `first + step` … round and round.
pub(crate) struct EtcdPuts {
    keys: Arc<Keys>,
    headers: Vec<u8>,
    next: usize,
    first: usize,
    step: usize,
    round: u32,
    /// Of the request in flight, or the last.
    stream: u32,
    has_message: bool,
}

impl EtcdPuts {
    /// Connection `number` of `of` puts its keys.
    pub(crate) fn new(keys: Arc<Keys>, number: usize, of: usize) -> Self {
        Self {
            keys,
            headers: headers(),
            next: number,
            first: number,
            step: of,
            round: 1,
            stream: 0,
            has_message: false,
        }
    }
}

/// The head of a put: every field in full.
fn headers() -> Vec<u8> {
    let mut block = vec![0x83, 0x86]; // :method POST, :scheme http
    let mut field = |name: &[u8], value: &[u8]| {
        block.extend_from_slice(name);
        block.push(u8::try_from(value.len()).expect("short"));
        block.extend_from_slice(value);
    };
    field(&[0x04], b"/etcdserverpb.KV/Put"); // :path
    field(&[0x01], b"bench"); // :authority
    field(&[0x0f, 0x10], b"application/grpc"); // content-type
    field(b"\x00\x02te", b"trailers");
    block
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

impl Talk for EtcdPuts {
    fn greet(&mut self, out: &mut Vec<u8>) {
        self.stream = 0;
        out.extend_from_slice(PREFACE);
        frame(out, SETTINGS, 0, 0, &[]);
        // Answers are small, but there are millions: room for two gigabytes of them.
        frame(out, WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    }

    fn ask(&mut self, out: &mut Vec<u8>) -> bool {
        if self.next >= self.keys.count() {
            self.next = self.first;
            self.round += 1;
        }
        let mut name = Vec::with_capacity(16);
        self.keys.write_name(self.next, &mut name);
        let mut message = Vec::with_capacity(160);
        message.extend_from_slice(&[0x0a, u8::try_from(name.len()).expect("short")]);
        message.extend_from_slice(&name);
        message.extend_from_slice(&[0x12, u8::try_from(VALUE_BYTES).expect("short")]);
        message.extend_from_slice(&Keys::value(self.next, self.round));
        let mut data = vec![0];
        data.extend_from_slice(&u32::try_from(message.len()).expect("short").to_be_bytes());
        data.extend_from_slice(&message);
        self.stream = if self.stream == 0 { 1 } else { self.stream + 2 };
        self.has_message = false;
        frame(out, HEADERS, END_HEADERS, self.stream, &self.headers);
        frame(out, DATA, END_STREAM, self.stream, &data);
        self.next += self.step;
        true
    }

    fn answer(&mut self, received: &[u8], out: &mut Vec<u8>) -> Step {
        let mut used = 0;
        while let Some((head, rest)) = received[used..].split_first_chunk::<FRAME_HEAD>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some(payload) = rest.get(..length) else { break };
            used += FRAME_HEAD + length;
            let (kind, flags) = (head[3], head[4]);
            let ours = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) == self.stream;
            match kind {
                SETTINGS if flags & ACK == 0 => frame(out, SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => frame(out, PING, ACK, 0, payload),
                GOAWAY => return Step::Done(used, Err("etcd said GOAWAY".to_owned())),
                RST_STREAM if ours => return Step::Done(used, Err("etcd reset the stream".to_owned())),
                DATA if ours => self.has_message |= length > 5,
                HEADERS if ours && flags & END_STREAM != 0 => {
                    let words = String::from_utf8_lossy(payload);
                    let failed = || format!("etcd refused a put: {words}");
                    return Step::Done(used, if self.has_message { Ok(()) } else { Err(failed()) });
                }
                _ => {}
            }
        }
        Step::More(used)
    }
}
