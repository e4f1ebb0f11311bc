//! Reads what is to go wrong: `cut 1-50 | 51-100`, `loss 30% 1-9`, `delay 100ms±30`. One grammar for shell and prompt.
//!
//! ```text
//! cut   NODES [| NODES] [oneway]     without a second side: from everybody else
//! loss  30% [NODES]                  without nodes: everybody
//! delay 100ms [±30ms | 30ms] [NODES]
//! pause NODES                        the same as pause-node
//! ```

use p2pnet_shared::fault::{DelayMs, Percent};

use crate::{
    failure::Failure,
    select::Selector,
    verb::{FaultOrder, Verb},
};

const KINDS: &str =
    "say `fault cut 1-50 '|' 51-100`, `fault loss 30%`, `fault delay 100ms` or `fault pause 7`; `fault` alone lists";

/// The verb that `words` after `fault` mean; none lists what is wrong now.
///
/// # Errors
/// The first word that makes no sense, with what would.
pub fn read<S: AsRef<str>>(words: &[S], one_way: bool) -> Result<Verb, Failure> {
    // A shell may hand on `"cut 1-50 | 51-100"` as one word, and `1-50|51-100` has no spaces at all.
    let line = words.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ").replace('|', " | ");
    let words: Vec<&str> = line.split_whitespace().collect();
    let Some((kind, rest)) = words.split_first() else {
        return if one_way { Err(Failure::new("one way is for a cut").hint(KINDS)) } else { Ok(Verb::Faults) };
    };
    if one_way && *kind != "cut" {
        return Err(Failure::new(format!("a {kind} has no direction, only a cut has")).hint("leave out `--one-way`"));
    }
    match *kind {
        "cut" | "partition" => cut(rest, one_way).map(Verb::Fault),
        "loss" => loss(rest).map(Verb::Fault),
        "delay" => delay(rest).map(Verb::Fault),
        "pause" => Ok(Verb::Pause(Selector::parse_words(rest)?)),
        other => Err(Failure::new(format!("there is no fault `{other}`")).hint(KINDS)),
    }
}

/// Whom `heal` is about: everybody without words.
///
/// # Errors
/// As [`Selector::parse_words`].
pub fn read_heal<S: AsRef<str>>(words: &[S]) -> Result<Verb, Failure> {
    if words.is_empty() { Ok(Verb::Heal(None)) } else { Selector::parse_words(words).map(Some).map(Verb::Heal) }
}

fn cut(words: &[&str], one_way: bool) -> Result<FaultOrder, Failure> {
    let (words, said) = match words.split_last() {
        Some((last, before)) if is_one_way(last) => (before, true),
        _ => (words, false),
    };
    let sides: Vec<&[&str]> = words.split(|word| *word == "|").collect();
    let hint = "for example `cut 1-50 | 51-100`, or `cut 7` for node7 from everybody else";
    let (from, to) = match sides.as_slice() {
        [from] => (Selector::parse_words(from)?, None),
        [from, to] if !from.is_empty() && !to.is_empty() => {
            (Selector::parse_words(from)?, Some(Selector::parse_words(to)?))
        }
        [_, _] => return Err(Failure::new("a side of the cut is empty").hint(hint)),
        _ => return Err(Failure::new("a cut has two sides").hint(hint)),
    };
    Ok(FaultOrder::Cut { from, to, one_way: one_way || said })
}

fn is_one_way(word: &str) -> bool {
    matches!(word, "oneway" | "one-way" | "--one-way" | "--oneway")
}

fn some_nodes(words: &[&str]) -> Result<Option<Selector>, Failure> {
    if words.is_empty() { Ok(None) } else { Selector::parse_words(words).map(Some) }
}

fn loss(words: &[&str]) -> Result<FaultOrder, Failure> {
    let example = "for example `loss 30%` or `loss 5% 1-9`";
    let (share, nodes) = words.split_first().ok_or_else(|| Failure::new("how much is lost?").hint(example))?;
    let percent = share.strip_suffix('%').unwrap_or(share).parse::<u8>().ok();
    let percent = percent.and_then(|percent| Percent::try_from(percent).ok());
    let percent =
        percent.ok_or_else(|| Failure::new(format!("`{share}` is no share from 1% to 100%")).hint(example))?;
    Ok(FaultOrder::Loss { percent, nodes: some_nodes(nodes)? })
}

fn delay(words: &[&str]) -> Result<FaultOrder, Failure> {
    let example = "for example `delay 100ms`, `delay 100ms±30ms` or `delay 2s 1-9`";
    let (time, rest) = words.split_first().ok_or_else(|| Failure::new("how long is the delay?").hint(example))?;
    let wrong = |word: &str, why: &str| Failure::new(format!("`{word}` is no delay: {why}")).hint(example);
    let read = |word: &str| {
        let time = millis(word).ok_or_else(|| wrong(word, "a whole number of ms or s"))?;
        DelayMs::try_from(time).map_err(|error| wrong(word, &error.to_string()))
    };
    let plain = time.replace("+/-", "±").replace("+-", "±");
    let (ms, jitter, nodes) = match (plain.split_once('±'), rest.split_first()) {
        (Some((ms, jitter)), _) => (read(ms)?, read(jitter)?, rest),
        // With a unit it is a time; a bare number is a node.
        (None, Some((jitter, nodes))) if millis(jitter).is_some() && jitter.ends_with('s') => {
            (read(time)?, read(jitter)?, nodes)
        }
        (None, Some((jitter, nodes))) if jitter.starts_with('±') => {
            (read(time)?, read(jitter.trim_start_matches('±'))?, nodes)
        }
        (None, _) => (read(time)?, DelayMs::default(), rest),
    };
    if jitter > ms {
        return Err(wrong(time, "it cannot vary by more than itself"));
    }
    Ok(FaultOrder::Delay { ms, jitter, nodes: some_nodes(nodes)? })
}

fn millis(word: &str) -> Option<u32> {
    let (number, unit) = word.split_at(word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len()));
    let unit = match unit {
        "" | "ms" => 1,
        "s" => 1_000,
        _ => return None,
    };
    number.parse::<u32>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Verb {
        read(&[line], false).unwrap_or_else(|failure| panic!("{line}: {failure}"))
    }

    fn nodes(text: &str) -> Selector {
        text.parse().unwrap()
    }

    fn cut(from: &str, to: Option<&str>, one_way: bool) -> Verb {
        Verb::Fault(FaultOrder::Cut { from: nodes(from), to: to.map(nodes), one_way })
    }

    fn delay(ms: u32, jitter: u32, at: Option<&str>) -> Verb {
        let time = |ms| DelayMs::try_from(ms).unwrap();
        Verb::Fault(FaultOrder::Delay { ms: time(ms), jitter: time(jitter), nodes: at.map(nodes) })
    }

    #[test]
    fn cuts_in_every_form() {
        for line in ["cut 1-50 | 51-100", "cut 1-50|51-100", "cut 1-50 |51-100", "partition 1-50 | 51-100"] {
            assert_eq!(of(line), cut("1-50", Some("51-100"), false), "{line}");
        }
        assert_eq!(read(&["cut", "1-50", "|", "51-100"], true).unwrap(), cut("1-50", Some("51-100"), true));
        assert_eq!(of("cut 1 | 2 oneway"), cut("1", Some("2"), true));
        assert_eq!(of("cut 7 9"), cut("7 9", None, false));
        assert_eq!(of("cut 30% seed 7 | bootstrap"), cut("30% seed 7", Some("bootstrap"), false));
    }

    #[test]
    fn loss_and_delay_in_every_form() {
        let percent = Percent::try_from(30).unwrap();
        assert_eq!(of("loss 30%"), Verb::Fault(FaultOrder::Loss { percent, nodes: None }));
        assert_eq!(of("loss 30 1-9"), Verb::Fault(FaultOrder::Loss { percent, nodes: Some(nodes("1-9")) }));
        for line in ["delay 100ms±30", "delay 100±30ms", "delay 100ms+-30ms", "delay 100ms 30ms", "delay 100 ±30"] {
            assert_eq!(of(line), delay(100, 30, None), "{line}");
        }
        assert_eq!(of("delay 100ms 30"), delay(100, 0, Some("30")), "a bare number is a node");
        assert_eq!(of("delay 2s 500ms 1-9"), delay(2_000, 500, Some("1-9")));
        assert_eq!(of("delay 5ms node3 bootstrap"), delay(5, 0, Some("node3 bootstrap")));
    }

    #[test]
    fn without_words_it_lists_and_pause_is_the_verb_there_is() {
        assert_eq!(read::<&str>(&[], false).unwrap(), Verb::Faults);
        assert_eq!(of("pause 7"), Verb::Pause(nodes("7")));
        assert_eq!(read_heal::<&str>(&[]).unwrap(), Verb::Heal(None));
        assert_eq!(read_heal(&["7", "9"]).unwrap(), Verb::Heal(Some(nodes("7 9"))));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_an_example() {
        for line in [
            "rain",
            "cut",
            "cut |",
            "cut 1 |",
            "cut | 1",
            "cut 1 | 2 | 3",
            "cut a/b",
            "loss",
            "loss 0%",
            "loss 101%",
            "loss lots",
            "loss 30% a/b",
            "delay",
            "delay soon",
            "delay 61s",
            "delay 10ms±20ms",
            "delay 1.5s",
            "delay 99999999999ms",
            "pause",
        ] {
            let failure = read(&[line], false).unwrap_err();
            assert!(failure.hint.is_some(), "{line}: {failure}");
        }
        assert!(read(&["loss", "30%"], true).is_err(), "only a cut has a direction");
        assert!(read::<&str>(&[], true).is_err());
    }
}
