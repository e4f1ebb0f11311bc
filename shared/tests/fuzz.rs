//! Every decoder in this crate against bytes from a stranger: no panic, no more memory than the bytes justify, and
//! nothing understood that was not meant.
//!
//! Each case is a valid encoding with up to eight things wrong with it, or noise. For a longer campaign:
//! `PROPTEST_CASES=1000000 cargo test -p p2pnet-shared --test fuzz`.

mod support;

use p2pnet_shared::{
    FilePath, MessageId, NetworkName, NodeName,
    api::{
        BroadcastReply, BroadcastRequest, DeleteReply, ErrorReply, FileDeletedReply, FilesReply, GetReply, GossipReply,
        GossipRequest, HealthReply, MembersReply, MessageReply, MessageRequest, MessagesReply, OwnerReply, PeersReply,
        PingReply, PutReply, PutRequest, RegisterReply, RegisterRequest, RingReply, RootReply, SendRequest,
        StatusReply, UploadReply,
    },
    fault::Fault,
    telemetry::{FeedLine, KeyEvent, Report},
    wire::{Codec, DecodeError, Hello, LINK_PREFACE, broadcast::Frame, dht, folder, lan::Beacon, membership::Datagram},
};
use proptest::{collection::vec, prelude::*};
use serde::{Serialize, de::DeserializeOwned};

use self::support::{
    files,
    harm::{harm, harmed, harmed_text},
    keys,
    memory::peak,
    values,
};

/// Most bytes of memory one byte from outside may cost while it is decoded. The dearest byte there is announces an
/// element of a list, which in memory is a `Claim` (104 B) in a list that had just doubled.
const BYTES_PER_BYTE: usize = 256;
/// What decoding costs besides, whatever comes in: errors with the beginning of what was refused.
const BYTES_AT_LEAST: usize = 4 * 1024;

fn codec(secret: Option<&str>) -> Codec {
    Codec::new(&"lab".parse().expect("a name"), secret)
}

/// `body` in an envelope that passes: the bytes get as far as they can.
fn enveloped(body: &[u8]) -> Vec<u8> {
    let mut bytes = codec(None).encode(&());
    bytes.extend_from_slice(body);
    bytes
}

fn body_of(value: &impl Serialize) -> Vec<u8> {
    codec(None).encode(value).split_off(codec(None).encode(&()).len())
}

/// Decodes, within the memory it may take; what is understood can be said again and is understood the same.
fn decode<T>(bytes: &[u8]) -> Result<(), TestCaseError>
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let (decoded, held) = peak(|| codec(None).decode::<T>(bytes));
    let most = bytes.len() * BYTES_PER_BYTE + BYTES_AT_LEAST;
    prop_assert!(held <= most, "{} bytes held for {} bytes of input", held, bytes.len());
    if let Ok(value) = decoded {
        let again = codec(None).decode::<T>(&codec(None).encode(&value));
        prop_assert!(again.as_ref() == Ok(&value), "{:?} is read back as {:?}", value, again);
    }
    Ok(())
}

/// Reads what may hold any number: one with a fraction is not always read back to the last bit.
fn read_json<T: DeserializeOwned>(text: &str) -> Result<Option<T>, TestCaseError> {
    let (decoded, held) = peak(|| serde_json::from_str::<T>(text));
    let most = text.len() * BYTES_PER_BYTE + BYTES_AT_LEAST;
    prop_assert!(held <= most, "{} bytes held for {} bytes of input", held, text.len());
    Ok(decoded.ok())
}

fn decode_json<T>(text: &str) -> Result<(), TestCaseError>
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    if let Some(value) = read_json::<T>(text)? {
        let again = serde_json::from_str::<T>(&serde_json::to_string(&value).expect("plain data"));
        prop_assert_eq!(again.ok(), Some(value));
    }
    Ok(())
}

/// Every body of the HTTP surface, as JSON.
fn api_body() -> impl Strategy<Value = String> {
    let examples = [
        r#"{"error":"no"}"#,
        r#"{"message":"Node x is running!"}"#,
        r#"{"id":"0158ac06-9527-4294-9d12-4e79b7295410","name":"node1","port":5000,"peers":3,"message":"Node is running",
            "address":"http://node1:5000","epoch":7,"incarnation":0,"health":0,"neighbours":["node2"],"messages":1,
            "uptime_ms":5,"encrypted":false,"rss_bytes":9}"#,
        r#"{"status":"failing","reason":"no loop"}"#,
        r#"{"status":"alive","response":"pong","node":"x","node_id":"0158ac06-9527-4294-9d12-4e79b7295410"}"#,
        r#"{"address":"http://node9:5000","id":null}"#,
        r#"{"status":"success","message":"m","peers":9}"#,
        r#"{"peers":["http://node1:5000","http://node2:5000"],"ttl":3}"#,
        r#"{"sender_id":"a","message":"b"}"#,
        r#"{"status":"received","from":"a","msg":"b","current_node":"node2","reply":"c"}"#,
        r#"{"to":"node3","msg":"x"}"#,
        r#"{"msg":"x","ttl":255}"#,
        r#"{"status":"accepted","id":"node4-1a1fe9bf860-2"}"#,
        r#"{"messages":[{"id":"node4-1-2","msg":"x","from":"node4","path":["node4","node2"],"received_at":7}]}"#,
        r#"{"status":"gossip received","known_peers":["a"],"added":[],"ttl":0}"#,
        r#"{"observer":"node1","members":[{"name":"node2","address":"a","status":"dead","epoch":1,"incarnation":2,
            "for_ms":3,"accusers":["node3"],"neighbour":true}]}"#,
        r#"{"key":"a/b c","value":{"deep":[1,null,"x"]}}"#,
        r#"{"status":"stored","key":"k","value":-1.5e9,"owner":"node1","replicas":["node1","node2"],"acks":2}"#,
        r#"{"key":"k","value":"v","owner":"node1","siblings":["v","w"]}"#,
        r#"{"status":"deleted","key":"k","acks":3}"#,
        r#"{"key":"k","hash":"a9993e364706816aba3e25717850c26c9cd0d89d","owner":"node1","replicas":["node1"]}"#,
        r#"{"observer":"node1","digest":"00ff","vnodes":64,"n":3,"nodes":[{"name":"node2","share":0.25,"tokens":["a9"]}]}"#,
        r#"{"status":"uploaded","filename":"a/b","size":5,"holders":2,
            "hash":"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"}"#,
        r#"{"status":"deleted","filename":"a/b"}"#,
        r#"{"files":[{"path":"a","size":0,"modified":7,"holders":1,
            "hash":"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"}],"conflicts":[],
            "digest":"000000000000000000000000000000ff"}"#,
    ];
    (0..examples.len()).prop_map(move |which| examples[which].to_owned())
}

proptest! {
    #![proptest_config(support::config(256))]

    #[test]
    fn noise_in_a_datagram(body in harmed(values::datagram().prop_map(|value| body_of(&value)))) {
        decode::<Datagram>(&enveloped(&body))?;
    }

    #[test]
    fn noise_in_a_frame(body in harmed(values::frame().prop_map(|value| body_of(&value)))) {
        decode::<Frame>(&enveloped(&body))?;
    }

    #[test]
    fn noise_in_a_packet_of_the_store(body in harmed(keys::packet().prop_map(|value| body_of(&value)))) {
        decode::<dht::Packet>(&enveloped(&body))?;
    }

    #[test]
    fn noise_in_a_packet_of_the_folder(body in harmed(files::message().prop_map(|value| body_of(&value)))) {
        decode::<folder::Message>(&enveloped(&body))?;
    }

    #[test]
    fn noise_in_a_report_of_the_folder(
        body in harmed(files::report().prop_map(|value| body_of(&value))),
        text in harmed_text(files::report().prop_map(|value| serde_json::to_string(&value).expect("plain data"))),
    ) {
        decode::<Report>(&enveloped(&body))?;
        decode_json::<Report>(&text)?;
    }

    #[test]
    fn a_path_that_was_hurt_stays_in_the_folder(
        text in harmed_text(files::path().prop_map(|path| path.to_string())),
    ) {
        let (path, held) = peak(|| text.parse::<FilePath>());
        prop_assert!(held <= 2 * text.len() + BYTES_AT_LEAST, "{} bytes held for a text of {}", held, text.len());
        if let Ok(path) = path {
            prop_assert_eq!(path.as_str(), &text);
            prop_assert!(text.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0')));
        }
    }

    #[test]
    fn noise_in_an_entry_or_event_of_the_store(
        entry in harmed(keys::entry().prop_map(|value| body_of(&value))),
        event in harmed(keys::key_event().prop_map(|value| body_of(&value))),
        text in harmed_text(keys::key_event().prop_map(|value| serde_json::to_string(&value).expect("plain data"))),
    ) {
        decode::<dht::Entry>(&enveloped(&entry))?;
        decode::<KeyEvent>(&enveloped(&event))?;
        decode_json::<KeyEvent>(&text)?;
    }

    #[test]
    fn noise_in_a_report(body in harmed(values::report().prop_map(|value| body_of(&value)))) {
        decode::<Report>(&enveloped(&body))?;
    }

    #[test]
    fn noise_in_a_fault(
        body in harmed(values::fault().prop_map(|value| body_of(&value))),
        text in harmed_text(values::fault().prop_map(|value| serde_json::to_string(&value).expect("plain data"))),
    ) {
        decode::<Fault>(&enveloped(&body))?;
        decode_json::<Fault>(&text)?;
    }

    #[test]
    fn noise_in_a_hello(body in harmed(values::hello().prop_map(|value| body_of(&value)))) {
        decode::<Hello>(&enveloped(&body))?;
    }

    #[test]
    fn noise_in_a_beacon(body in harmed(values::beacon().prop_map(|value| body_of(&value)))) {
        decode::<Beacon>(&enveloped(&body))?;
    }

    #[test]
    fn one_type_read_as_another(value in values::frame()) {
        let bytes = codec(None).encode(&value);
        decode::<Datagram>(&bytes)?;
        decode::<Report>(&bytes)?;
        decode::<Hello>(&bytes)?;
        decode::<Beacon>(&bytes)?;
    }

    #[test]
    fn a_whole_envelope_that_was_hurt(bytes in harmed(values::datagram().prop_map(|value| codec(None).encode(&value)))) {
        decode::<Datagram>(&bytes)?;
        // Nothing that starts like HTTP is ever taken for one of ours, and the other way round.
        let ours = codec(None).decode::<Datagram>(&bytes);
        prop_assert!(ours.is_err() || bytes[0] == LINK_PREFACE[0]);
    }

    #[test]
    fn whoever_lacks_the_secret_is_never_understood(
        value in values::datagram(), harms in vec(harm(), 1..8), other in "[a-z]{0,8}",
    ) {
        let ours = codec(Some("the secret"));
        let good = ours.encode(&value);
        prop_assert!(ours.decode::<Datagram>(&good).as_ref() == Ok(&value));
        for stranger in [codec(None).encode(&value), codec(Some(&other)).encode(&value)] {
            prop_assert_eq!(ours.decode::<Datagram>(&stranger), Err(DecodeError::Seal));
        }
        let mut bad = good.clone();
        harms.iter().for_each(|harm| harm.to(&mut bad));
        if bad != good {
            let (decoded, held) = peak(|| ours.decode::<Datagram>(&bad));
            prop_assert!(decoded.is_err(), "altered on the way and believed");
            prop_assert!(held <= 2 * bad.len() + BYTES_AT_LEAST, "{} bytes held before the seal was broken", held);
        }
    }

    #[test]
    fn a_feed_line_that_was_hurt(
        line in harmed_text(values::feed_line().prop_map(|line| serde_json::to_string(&line).expect("plain data"))),
    ) {
        decode_json::<FeedLine>(&line)?;
    }

    #[test]
    fn a_reply_or_request_that_was_hurt(body in harmed_text(api_body())) {
        decode_json::<ErrorReply>(&body)?;
        decode_json::<RootReply>(&body)?;
        decode_json::<StatusReply>(&body)?;
        decode_json::<HealthReply>(&body)?;
        decode_json::<PingReply>(&body)?;
        decode_json::<RegisterRequest>(&body)?;
        decode_json::<RegisterReply>(&body)?;
        decode_json::<PeersReply>(&body)?;
        decode_json::<MessageRequest>(&body)?;
        decode_json::<MessageReply>(&body)?;
        decode_json::<SendRequest>(&body)?;
        decode_json::<BroadcastRequest>(&body)?;
        decode_json::<BroadcastReply>(&body)?;
        decode_json::<MessagesReply>(&body)?;
        decode_json::<GossipRequest>(&body)?;
        decode_json::<GossipReply>(&body)?;
        decode_json::<MembersReply>(&body)?;
        decode_json::<DeleteReply>(&body)?;
        decode_json::<OwnerReply>(&body)?;
        decode_json::<UploadReply>(&body)?;
        decode_json::<FilesReply>(&body)?;
        decode_json::<FileDeletedReply>(&body)?;
        read_json::<PutRequest>(&body)?;
        read_json::<PutReply>(&body)?;
        read_json::<GetReply>(&body)?;
        read_json::<RingReply>(&body)?;
    }

    #[test]
    fn names_and_ids_that_were_hurt(
        text in harmed_text(values::message_id().prop_map(|id| id.to_string())),
    ) {
        let ((node, network, id), held) =
            peak(|| (text.parse::<NodeName>(), text.parse::<NetworkName>(), text.parse::<MessageId>()));
        prop_assert!(held <= BYTES_AT_LEAST, "{} bytes held for a text of {}", held, text.len());
        prop_assert_eq!(node.is_ok(), network.is_ok(), "one alphabet");
        if let Ok(node) = node {
            prop_assert_eq!(node.as_str(), &text);
            let _ = (node.number(), node.spoken(), node.display_order());
        }
        if let Ok(id) = id {
            prop_assert_eq!(id.to_string().parse::<MessageId>().ok(), Some(id));
        }
    }

    #[test]
    fn a_mark_answers_whatever_it_holds(mark in values::mark(), seq in values::number()) {
        prop_assert!(!mark.has(seq) || seq <= mark.highest());
    }
}

proptest! {
    #![proptest_config(support::config(16))]

    #[test]
    fn any_flipped_bit_of_a_sealed_datagram_is_noticed(value in values::datagram()) {
        let ours = codec(Some("the secret"));
        let mut bytes = ours.encode(&value);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(ours.decode::<Datagram>(&bytes).is_err(), "bit {}", bit);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// Lists that announce what they do not hold cost nothing, however deep they stand.
#[test]
fn an_announced_length_buys_no_memory() {
    let endless = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let datagram = body_of(&(NodeName::numbered(1), 4_u32)); // Gossip, and then the claims
    let frame = [vec![6, 0, 0, 0], endless.to_vec()].concat(); // Marks { Compare, None, None, marks }
    let report = [vec![1], endless.to_vec()].concat(); // Snapshot { members }
    let repair = |said: dht::Repair| dht::Packet { clock: 0, message: dht::Message::Repair(said) };
    let given = body_of(&repair(dht::Repair::Give { batch: 0, entries: Vec::new() }));
    let packet = [&given[..given.len() - 1], &endless].concat(); // Give { entries }
    let pushed = body_of(&folder::Message::Push { entries: Vec::new() });
    let files = [&pushed[..pushed.len() - 1], &endless].concat(); // Push { entries }
    for (what, body) in [
        ("claims", [datagram, endless.to_vec()].concat()),
        ("marks", frame),
        ("rows", report),
        ("entries", packet),
        ("files", files),
    ] {
        let bytes = enveloped(&body);
        let (refused, held) = peak(|| {
            codec(None).decode::<Datagram>(&bytes).is_err()
                && codec(None).decode::<Frame>(&bytes).is_err()
                && codec(None).decode::<Report>(&bytes).is_err()
                && codec(None).decode::<dht::Packet>(&bytes).is_err()
                && codec(None).decode::<folder::Message>(&bytes).is_err()
        });
        assert!(refused && held <= BYTES_AT_LEAST, "{what}: {held} bytes held for {}", bytes.len());
    }
}

/// Every list of repair has a bound: one more than that is no packet.
#[test]
fn lists_of_repair_have_an_end() {
    use p2pnet_shared::ring::{Place, RingDigest, Span};
    let arc = dht::ArcDigest { span: Span::default(), digest: dht::HeldDigest::default(), settled: false };
    let holding = dht::Holding { place: Place(1), versions: 1 };
    let entry = dht::Entry { key: "k".parse().expect("a key"), versions: Vec::new() };
    let said = |more: usize| {
        let places = vec![Place(1); dht::OFFER_MAX + more];
        [
            dht::Repair::Arcs { ring: RingDigest(0), asked: true, arcs: vec![arc; dht::ARCS_MAX + more] },
            dht::Repair::Offer { offer: 0, spans: vec![Span::default(); dht::ARCS_MAX + more], held: Vec::new() },
            dht::Repair::Offer { offer: 0, spans: Vec::new(), held: vec![holding; dht::OFFER_MAX + more] },
            dht::Repair::Wanted { offer: 0, want: places.clone(), kept: Vec::new(), lacking: 0 },
            dht::Repair::Wanted { offer: 0, want: Vec::new(), kept: places, lacking: 0 },
            dht::Repair::Give { batch: 0, entries: vec![entry.clone(); dht::GIVE_MAX + more] },
        ]
    };
    for (most, more) in said(0).into_iter().zip(said(1)) {
        let decode = |said: dht::Repair| codec(None).decode::<dht::Repair>(&codec(None).encode(&said));
        assert_eq!(decode(most.clone()), Ok(most));
        assert!(decode(more).is_err());
    }
}

/// The measure itself: what is held is counted while it is held.
#[test]
fn memory_that_is_held_is_counted() {
    let (kept, held) = peak(|| {
        drop(vec![0_u8; 100_000]);
        vec![1_u8; 10]
    });
    assert!(kept.len() == 10 && (100_000..101_000).contains(&held), "{held}");
}
