//! A `multipart/form-data` body (RFC 7578), read part by part as it arrives: nothing of it is kept but what may still be the beginning
//! of a boundary.
//!
//! ```text
//! --BOUNDARY ⏎ headers ⏎⏎ bytes ⏎--BOUNDARY ⏎ headers ⏎⏎ bytes ⏎--BOUNDARY--      ⏎ is CR LF
//!              Head         Data…  End         Head        Data…  End        None
//! ```
//! By hand rather than by a library: what there is reads on for as long as there is something to read, holds a part's headers however
//! long they are, and brings tables of character sets.
//!
//! Always holds: at most one frame of the body, [`HEAD_MAX_BYTES`] and a boundary are in memory.

use std::fmt;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use memchr::memmem;

/// Longest headers of one part, bytes.
const HEAD_MAX_BYTES: usize = 8 * 1024;
/// Longest boundary (RFC 2046 §5.1.1).
const BOUNDARY_MAX_BYTES: usize = 70;

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It is not multipart.
    Malformed(&'static str),
    /// It ended too early, or its sender went away.
    BrokeOff,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::Malformed(why) => write!(f, "the body is no multipart form: {why}"),
            BodyError::BrokeOff => f.write_str("the body broke off; send it whole"),
        }
    }
}

/// What comes next in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// A part begins.
    Head(Head),
    /// Some of its bytes.
    Data(Bytes),
    /// It is whole.
    End,
}

/// How a part is called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Head {
    /// The form's field.
    pub(super) name: Option<String>,
    /// The file's name, as its sender has it.
    pub(super) filename: Option<String>,
}

/// The boundary of a body with this `Content-Type`.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let found = Parameters(parameters.as_bytes()).find(|(name, _)| name.eq_ignore_ascii_case(b"boundary"));
    let boundary = String::from_utf8(found?.1).ok()?;
    (1..=BOUNDARY_MAX_BYTES).contains(&boundary.len()).then_some(boundary)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first boundary, where anything may stand.
    Preamble,
    /// Right after a boundary.
    Boundary,
    Part,
    /// After the last.
    Over,
}

/// A body under way.
pub(super) struct Parts<S> {
    body: S,
    /// CR LF, two dashes and the boundary.
    delimiter: memmem::Finder<'static>,
    buffer: BytesMut,
    place: Place,
    is_ended: bool,
}

impl<S: Stream<Item = Option<Bytes>> + Unpin> Parts<S> {
    /// `body` gives the body's frames, or `None` once it broke.
    pub(super) fn new(body: S, boundary: &str) -> Self {
        let delimiter = memmem::Finder::new(&format!("\r\n--{boundary}")).into_owned();
        // The first boundary may stand at the very beginning, where no line ends before it.
        Self { body, delimiter, buffer: BytesMut::from(&b"\r\n"[..]), place: Place::Preamble, is_ended: false }
    }

    /// What has not been read yet.
    pub(super) fn into_body(self) -> S {
        self.body
    }

    /// What comes next; `None` after the last part.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>, BodyError> {
        loop {
            let step = match self.place {
                Place::Preamble => self.preamble(),
                Place::Boundary => self.head()?,
                Place::Part => self.data(),
                Place::Over => return Ok(None),
            };
            match step {
                Step::Piece(piece) => return Ok(Some(piece)),
                Step::Again => {}
                Step::More if self.is_ended => return Err(BodyError::BrokeOff),
                Step::More => match self.body.next().await {
                    Some(Some(frame)) => self.buffer.extend_from_slice(&frame),
                    Some(None) => return Err(BodyError::BrokeOff),
                    None => self.is_ended = true,
                },
            }
        }
    }

    fn preamble(&mut self) -> Step {
        match self.delimiter.find(&self.buffer) {
            Some(at) => {
                drop(self.buffer.split_to(at + self.delimiter.needle().len()));
                self.place = Place::Boundary;
                Step::Again
            }
            None => {
                drop(self.buffer.split_to(self.settled()));
                Step::More
            }
        }
    }

    fn head(&mut self) -> Result<Step, BodyError> {
        if self.buffer.len() < 2 {
            return Ok(Step::More);
        }
        if self.buffer.starts_with(b"--") {
            self.place = Place::Over;
            return Ok(Step::Again);
        }
        let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") else {
            if self.buffer.len() > HEAD_MAX_BYTES {
                return Err(BodyError::Malformed("a part's headers are longer than 8 KiB"));
            }
            return Ok(Step::More);
        };
        let head = self.buffer.split_to(end);
        drop(self.buffer.split_to(4));
        // What follows the boundary in its line may be blank only.
        let (line, headers) = match memmem::find(&head, b"\r\n") {
            Some(at) => head.split_at(at),
            None => (&head[..], &b""[..]),
        };
        if !line.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
            return Err(BodyError::Malformed("something follows a boundary in its line"));
        }
        self.place = Place::Part;
        Ok(Step::Piece(Piece::Head(Head::read(headers)?)))
    }

    fn data(&mut self) -> Step {
        match self.delimiter.find(&self.buffer) {
            Some(0) => {
                drop(self.buffer.split_to(self.delimiter.needle().len()));
                self.place = Place::Boundary;
                Step::Piece(Piece::End)
            }
            Some(at) => Step::Piece(Piece::Data(self.buffer.split_to(at).freeze())),
            None => match self.settled() {
                0 => Step::More,
                settled => Step::Piece(Piece::Data(self.buffer.split_to(settled).freeze())),
            },
        }
    }

    /// How many bytes of the buffer cannot be the beginning of a delimiter.
    fn settled(&self) -> usize {
        (self.buffer.len() + 1).saturating_sub(self.delimiter.needle().len())
    }
}

enum Step {
    Piece(Piece),
    Again,
    /// More bytes are needed.
    More,
}

impl Head {
    fn read(headers: &[u8]) -> Result<Self, BodyError> {
        let lines = headers.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let disposition = lines.filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            name.eq_ignore_ascii_case(b"content-disposition").then_some(&value[1..])
        });
        let Some(value) = disposition.into_iter().next() else { return Ok(Self::default()) };
        let parameters = value.iter().position(|byte| *byte == b';').map_or(&b""[..], |at| &value[at + 1..]);
        let (mut head, mut extended) = (Self::default(), None);
        let text = |bytes| String::from_utf8(bytes).map_err(|_| BodyError::Malformed("a name in it is not UTF-8"));
        for (name, value) in Parameters(parameters) {
            match name.to_ascii_lowercase().as_slice() {
                b"name" => head.name = Some(text(value)?),
                b"filename" => head.filename = Some(text(value)?),
                // RFC 5987, as `requests` writes names that are not ASCII.
                b"filename*" => {
                    let value = text(value)?;
                    let encoded = value.get(..7).filter(|kind| kind.eq_ignore_ascii_case("utf-8''"));
                    let encoded = encoded.map(|_| &value[7..]).and_then(super::percent::decoded);
                    extended = Some(encoded.ok_or(BodyError::Malformed("its `filename*` is not UTF-8''…"))?);
                }
                _ => {}
            }
        }
        head.filename = extended.or(head.filename);
        Ok(head)
    }
}

/// `name=value; name="value"`, one after the other. Within quotes `\"` and `\\` stand for what follows the backslash; any other backslash
/// stands for itself, as browsers write it.
struct Parameters<'a>(&'a [u8]);

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a [u8], Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.trim_ascii_start();
        let equals = rest.iter().position(|byte| *byte == b'=')?;
        let (name, rest) = (rest[..equals].trim_ascii(), &rest[equals + 1..]);
        let rest = rest.trim_ascii_start();
        let Some(quoted) = rest.strip_prefix(b"\"") else {
            let end = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
            self.0 = rest.get(end + 1..).unwrap_or_default();
            return Some((name, rest[..end].trim_ascii().to_vec()));
        };
        let mut value = Vec::new();
        let mut bytes = quoted.iter().copied().enumerate().peekable();
        let mut end = quoted.len();
        while let Some((at, byte)) = bytes.next() {
            match (byte, bytes.peek()) {
                (b'"', _) => {
                    end = at + 1;
                    break;
                }
                (b'\\', Some((_, escaped @ (b'"' | b'\\')))) => {
                    value.push(*escaped);
                    bytes.next();
                }
                _ => value.push(byte),
            }
        }
        let rest = &quoted[end..];
        let next = rest.iter().position(|byte| *byte == b';').map_or(rest.len(), |at| at + 1);
        self.0 = &rest[next..];
        Some((name, value))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use proptest::prelude::*;

    use super::*;

    /// All pieces, the data of a part as one, of a body that arrives in frames of `step` bytes.
    fn read(body: &[u8], step: usize) -> Result<Vec<(Head, Vec<u8>)>, BodyError> {
        let frames = body.chunks(step.max(1)).map(|frame| Some(Bytes::copy_from_slice(frame))).collect::<Vec<_>>();
        let mut parts = Parts::new(stream::iter(frames), "XX");
        let read = async {
            let (mut all, mut open) = (Vec::new(), None);
            while let Some(piece) = parts.next().await? {
                assert!(parts.buffer.len() <= HEAD_MAX_BYTES + step + 80);
                match piece {
                    Piece::Head(head) => assert!(open.replace((head, Vec::new())).is_none()),
                    Piece::Data(bytes) => open.as_mut().expect("a part").1.extend_from_slice(&bytes),
                    Piece::End => all.push(open.take().expect("a part")),
                }
            }
            Ok(all)
        };
        futures_util::FutureExt::now_or_never(read).expect("nothing is waited for")
    }

    fn head(name: &str, filename: Option<&str>) -> Head {
        Head { name: Some(name.to_owned()), filename: filename.map(str::to_owned) }
    }

    #[test]
    fn a_form_is_read_however_it_arrives() {
        let body = b"preamble\r\n--XX\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhi\r\n--XX  \r\n\
            content-disposition: form-data; name=file; filename=\"a/b \\\"c\\\" \\d.txt\"\r\nContent-Type: text/plain\r\n\r\n\
            one\r\n--X\r\n-two\r\n--XX\r\nContent-Disposition: form-data; name=\"none\"\r\n\r\n\r\n--XX--\r\nepilogue";
        let expected = vec![
            (head("note", None), b"hi".to_vec()),
            (head("file", Some("a/b \"c\" \\d.txt")), b"one\r\n--X\r\n-two".to_vec()),
            (head("none", None), Vec::new()),
        ];
        for step in 1..body.len() + 1 {
            assert_eq!(read(body, step), Ok(expected.clone()), "in frames of {step}");
        }
    }

    #[test]
    fn names_are_read_as_clients_write_them() {
        for (written, filename) in [
            ("filename=plain.txt", "plain.txt"),
            ("filename=\"sp ace;semi.txt\"", "sp ace;semi.txt"),
            ("filename=\"C:\\dir\\x.txt\"", "C:\\dir\\x.txt"),
            ("filename=\"x\"; filename*=UTF-8''%D0%BA%20.txt", "к .txt"),
            ("filename*=utf-8''a%2Fb", "a/b"),
            ("filename=\"ключ\"", "ключ"),
            ("filename=\"\"", ""),
            ("filename=\"never closed", "never closed"),
        ] {
            let body = format!("--XX\r\nContent-Disposition: form-data; name=\"file\"; {written}\r\n\r\n.\r\n--XX--");
            assert_eq!(read(body.as_bytes(), 7).unwrap()[0].0, head("file", Some(filename)), "{written}");
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let long = format!("--XX\r\nX: {}\r\n\r\n", "y".repeat(HEAD_MAX_BYTES));
        for body in ["", "nothing", "--XX", "--XX\r\n", "--XX\r\n\r\nno end", "--XX\r\nA: b\r\n\r\nx\r\n--X"] {
            assert_eq!(read(body.as_bytes(), 5), Err(BodyError::BrokeOff), "{body:?}");
        }
        for body in [&*long, "--XXX\r\n\r\n\r\n--XX--"] {
            assert!(matches!(read(body.as_bytes(), 5), Err(BodyError::Malformed(_))), "{:?}", &body[..8]);
        }
        let latin = b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\xfc\"\r\n\r\n\r\n--XX--";
        assert!(matches!(read(latin, 50), Err(BodyError::Malformed(_))));
    }

    #[test]
    fn the_boundary_is_in_the_content_type() {
        for (kind, wanted) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("Multipart/Form-Data;charset=utf-8; Boundary=\"a b\"", Some("a b")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("text/plain; boundary=abc", None),
        ] {
            assert_eq!(boundary(kind).as_deref(), wanted, "{kind}");
        }
        assert_eq!(boundary(&format!("multipart/form-data; boundary={}", "x".repeat(71))), None);
    }

    proptest! {
        #[test]
        fn any_contents_come_through(
            contents in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'X'), any::<u8>()], 0..300),
            step in 1_usize..64,
        ) {
            prop_assume!(memmem::find(&contents, b"\r\n--XX").is_none());
            let mut body = b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n".to_vec();
            body.extend_from_slice(&contents);
            body.extend_from_slice(b"\r\n--XX--\r\n");
            prop_assert_eq!(read(&body, step), Ok(vec![(head("file", Some("f")), contents)]));
        }

        #[test]
        fn garbage_does_no_harm(body in proptest::collection::vec(prop_oneof![
            Just(b"\r\n".to_vec()), Just(b"--XX".to_vec()), Just(b"--".to_vec()), Just(b"filename=\"".to_vec()),
            Just(b"Content-Disposition: form-data; name=\"file\";".to_vec()), proptest::collection::vec(any::<u8>(), 0..9),
        ], 0..60), step in 1_usize..40) {
            let _ = read(&body.concat(), step);
        }
    }
}
