//! Percent-encoded text in a path or a header (RFC 3986 §2.1), decoded once.

/// What a text stands for; `None` if a `%` has no two hexadecimal digits behind it, or what comes out is not UTF-8.
pub(super) fn decoded(written: &str) -> Option<String> {
    String::from_utf8(bytes(written)?).ok()
}

/// The same, as bytes.
pub(super) fn bytes(written: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(written.len());
    let mut rest = written.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(digits[0])? * 16 + digit(digits[1])?);
        rest = after;
    }
    Some(bytes)
}
