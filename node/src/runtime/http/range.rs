//! Which part of a file is asked for (RFC 9110 §13, §14): pure.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderName, header};

/// What is to be sent of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Nothing: the asker has it.
    NotModified,
    /// All of it.
    Whole,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// Nothing: the file has no such bytes.
    Unsatisfiable,
}

/// What a request with these headers wants of a file of `size` bytes whose tag is `tag`, quotes included.
pub(super) fn wanted(headers: &HeaderMap, size: u64, tag: &str) -> Wanted {
    if text(headers, header::IF_NONE_MATCH).is_some_and(|tags| matches_any(tags, tag, true)) {
        return Wanted::NotModified;
    }
    // A tag that is another one, or a date: the file may not be the one that the asker has the rest of.
    let is_same = text(headers, header::IF_RANGE).is_none_or(|given| given.trim() == tag);
    match text(headers, header::RANGE).filter(|_| is_same) {
        Some(range) => part(range, size),
        None => Wanted::Whole,
    }
}

/// Whether a list of tags, or `*`, has `tag` in it. Weak ones (`W/"…"`) count only if `weakly`.
pub(super) fn matches_any(tags: &str, tag: &str, weakly: bool) -> bool {
    let one = |given: &str| {
        let given = given.trim();
        given == "*" || given == tag || (weakly && given.strip_prefix("W/") == Some(tag))
    };
    tags.split(',').any(one)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// One range of bytes; what is written wrongly, and several at once, is as if nothing was asked, which the standard allows.
fn part(range: &str, size: u64) -> Wanted {
    let Some((first, last)) = range.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Wanted::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    let number = |text: &str| -> Option<u64> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if last < first => Wanted::Whole,
        (Some(first), _) if first >= size && (last.is_empty() || number(last).is_some()) => Wanted::Unsatisfiable,
        (Some(first), Some(last)) => Wanted::Part(first..last.saturating_add(1).min(size)),
        (Some(first), None) if last.is_empty() => Wanted::Part(first..size),
        (None, Some(0)) if first.is_empty() => Wanted::Unsatisfiable,
        (None, Some(_)) if first.is_empty() && size == 0 => Wanted::Unsatisfiable,
        (None, Some(count)) if first.is_empty() => Wanted::Part(size.saturating_sub(count)..size),
        _ => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn asked(headers: &[(HeaderName, &'static str)], size: u64) -> Wanted {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        wanted(&headers.collect(), size, "\"abc\"")
    }

    #[test]
    fn one_range_is_given_and_anything_else_is_the_whole() {
        use Wanted::{Part, Unsatisfiable, Whole};
        let table = [
            ("bytes=0-0", Part(0..1)),
            ("bytes=2-5", Part(2..6)),
            ("bytes=2-", Part(2..10)),
            ("bytes= 2 - 99 ", Part(2..10)),
            ("bytes=9-18446744073709551615", Part(9..10)),
            ("bytes=2-99999999999999999999999", Part(2..10)),
            ("bytes=-3", Part(7..10)),
            ("bytes=-99", Part(0..10)),
            ("bytes=-0", Unsatisfiable),
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-11", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=5-2", Whole),
            ("bytes=0-1,3-4", Whole),
            ("bytes=a-b", Whole),
            ("bytes=-", Whole),
            ("bytes=--1", Whole),
            ("bytes=+1-2", Whole),
            ("bytes", Whole),
            ("lines=1-2", Whole),
        ];
        for (range, wanted) in table {
            assert_eq!(asked(&[(header::RANGE, range)], 10), wanted, "{range}");
        }
        for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(asked(&[(header::RANGE, range)], 0), Unsatisfiable, "{range} of nothing");
        }
    }

    #[test]
    fn tags_are_compared_as_the_standard_has_it() {
        for tags in ["\"abc\"", "*", "\"x\", \"abc\"", "W/\"abc\""] {
            assert_eq!(asked(&[(header::IF_NONE_MATCH, tags), (header::RANGE, "bytes=0-1")], 10), Wanted::NotModified);
        }
        assert_eq!(asked(&[(header::IF_NONE_MATCH, "\"x\"")], 10), Wanted::Whole);
        for (tag, wanted) in [
            ("\"abc\"", Wanted::Part(0..2)),
            ("\"x\"", Wanted::Whole),
            ("W/\"abc\"", Wanted::Whole),
            ("Sat, 21 Nov 2026 21:47:13 GMT", Wanted::Whole),
        ] {
            assert_eq!(asked(&[(header::IF_RANGE, tag), (header::RANGE, "bytes=0-1")], 10), wanted, "{tag}");
        }
        assert!(!matches_any("W/\"abc\"", "\"abc\"", false));
    }
}
