//! Amounts as people write them.

/// A number of bytes, 1 at least, with `K`, `M` or `G` behind it for a thousand, a million, a thousand million. `None` if it is
/// something else, or too large for 64 bits.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, unit) = match text.char_indices().next_back()? {
        (at, 'k' | 'K') => (&text[..at], 1_000),
        (at, 'm' | 'M') => (&text[..at], 1_000_000),
        (at, 'g' | 'G') => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| *bytes > 0)
}

#[test]
fn bytes_are_read_as_people_write_them() {
    for (written, number) in [("6M", 6_000_000), ("600k", 600_000), (" 7 ", 7), ("1G", 1_000_000_000)] {
        assert_eq!(bytes(written), Some(number), "{written}");
    }
    for bad in ["", "0", "-1", "M", "6MB", "1.5M", "99999999999999999999", "99999999999999G", "6µ"] {
        assert_eq!(bytes(bad), None, "{bad}");
    }
}
