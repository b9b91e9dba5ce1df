//! The loop of every fuzz function: change something, look at it, until the time is over.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Sets how long each function runs.
const SECONDS: &str = "MATRIX_WHATSAPP_TEST_FUZZ_SECONDS";
/// Sets what chance is drawn from.
const SEED: &str = "MATRIX_WHATSAPP_TEST_FUZZ_SEED";
/// An input is never larger.
const MAX_INPUT: usize = 32 * 1024;
/// One input may take no longer: far more than any does on a busy machine, and far less than what grows with the
/// square of the text.
const MAX_TIME: Duration = Duration::from_secs(20);

/// What has a meaning somewhere, so that chance alone would hardly find it.
const PIECES: &[&str] = &[
    "*",
    "_",
    "~",
    "`",
    "```",
    "> ",
    "- ",
    "1. ",
    "\n",
    "\r\n",
    "\u{2028}",
    "\0",
    "\u{feff}",
    "\u{202e}",
    "@15550101",
    "@all",
    "https://a.example/",
    "<b>",
    "</b>",
    "<p>",
    "<br>",
    "<li>",
    "<ul>",
    "<ol start=\"-1\">",
    "<pre><code>",
    "</pre>",
    "<table>",
    "<td>",
    "<a href=\"https://matrix.to/#/@a:b\">",
    "</a>",
    "<mx-reply>",
    "<blockquote>",
    "<!--",
    "-->",
    "<![CDATA[",
    "&lt;",
    "&#x0;",
    "&#1114112;",
    "&",
    "<span data-mx-spoiler>",
    "<img src=x alt=\"y\">",
    "BEGIN:VCARD",
    "END:VCARD",
    "\nFN:",
    "\nN:;;",
    "\nTEL;waid=15550101:+1",
    "\nitem1.TEL:",
    "QUOTED-PRINTABLE:=",
    "=\n",
    "\\n",
    "\\,",
    ";",
    ":",
    "\"",
    "{",
    "}",
    "[",
    "]",
    "é",
    "😀",
    "👩‍👩‍👧",
    "\u{300}",
];

/// One input.
pub struct Input {
    /// It as it is.
    pub bytes: Vec<u8>,
}

impl Input {
    /// It as text; what is none becomes U+FFFD.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// Runs `look_at` on each input of the corpus as it is, and then on changed ones until the time is over.
///
/// Panics when `look_at` does, or takes too long: with the seed and the whole input.
pub fn fuzz(name: &str, corpus: &[Vec<u8>], look_at: impl Fn(&Input)) {
    assert!(!corpus.is_empty(), "no golden case has anything for {name}");
    let seconds = variable(SECONDS).unwrap_or(1);
    let seed = variable(SEED).unwrap_or_else(rand::random);
    println!("fuzzing {name} for {seconds} s: {SEED}={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut count = 0_u64;
    let mut unchanged = corpus.iter();
    loop {
        let bytes = match unchanged.next() {
            Some(bytes) => bytes.clone(),
            None if Instant::now() >= end => break,
            None => change(corpus, &mut chance),
        };
        let (input, start) = (Input { bytes }, Instant::now());
        let looked = catch_unwind(AssertUnwindSafe(|| look_at(&input)));
        let time = start.elapsed();
        if looked.is_err() || time > MAX_TIME {
            let what = if looked.is_err() { "failed (above it says why)" } else { "took too long" };
            panic!(
                "{name}: input {count} of {SEED}={seed} {what}, after {time:?}.\nAs text: {:?}\nAs bytes: {:02x?}",
                input.text(),
                input.bytes
            );
        }
        count += 1;
    }
    println!("fuzzed {name}: {count} inputs");
}

fn pick<'a, T>(from: &'a [T], chance: &mut StdRng) -> &'a T {
    &from[chance.random_range(0..from.len())]
}

fn change(corpus: &[Vec<u8>], chance: &mut StdRng) -> Vec<u8> {
    let mut bytes = pick(corpus, chance).clone();
    if let Ok(mut value) = serde_json::from_slice::<Value>(&bytes)
        && value.is_object()
        && chance.random_bool(0.9)
    {
        for _ in 0..chance.random_range(1..5) {
            change_value(&mut value, chance);
        }
        return value.to_string().into_bytes();
    }
    for _ in 0..chance.random_range(1..8) {
        change_bytes(&mut bytes, corpus, chance);
    }
    bytes.truncate(MAX_INPUT);
    bytes
}

/// Two ends inside of something of this length, in order.
fn stretch(length: usize, chance: &mut StdRng) -> (usize, usize) {
    let (a, b) = (chance.random_range(0..=length), chance.random_range(0..=length));
    (a.min(b), a.max(b))
}

fn change_bytes(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], chance: &mut StdRng) {
    let at = chance.random_range(0..=bytes.len());
    match chance.random_range(0..9) {
        0 if at < bytes.len() => bytes[at] = chance.random(),
        1 if at < bytes.len() => bytes[at] ^= 1 << chance.random_range(0..8),
        2 => {
            let (from, to) = stretch(bytes.len(), chance);
            bytes.drain(from..to);
        }
        3 => {
            // A part again, here or there: once, or so often that it hurts.
            let (from, to) = stretch(bytes.len().min(200), chance);
            let times = if chance.random_bool(0.2) { chance.random_range(1..500) } else { 1 };
            let again = bytes[from..to].repeat(times);
            bytes.splice(at..at, again.into_iter().take(MAX_INPUT));
        }
        4 => {
            let other = pick(corpus, chance);
            let (from, to) = stretch(other.len(), chance);
            bytes.splice(at..at, other[from..to].iter().copied());
        }
        5 => {
            let times = if chance.random_bool(0.1) { chance.random_range(1..2_000) } else { 1 };
            let piece = pick(PIECES, chance).repeat(times);
            bytes.splice(at..at, piece.into_bytes());
        }
        6 => bytes.truncate(at),
        7 => {
            let some: Vec<u8> = (0..chance.random_range(1..20)).map(|_| chance.random()).collect();
            bytes.splice(at..at, some);
        }
        _ => bytes.splice(at..at, pick(PIECES, chance).bytes()).for_each(drop),
    }
    bytes.truncate(MAX_INPUT);
}

/// Changes one value somewhere inside.
fn change_value(value: &mut Value, chance: &mut StdRng) {
    let deeper = chance.random_bool(0.8);
    match value {
        Value::Object(object) if deeper && !object.is_empty() => {
            let at = chance.random_range(0..object.len());
            if let Some(inner) = object.values_mut().nth(at) {
                change_value(inner, chance);
            }
        }
        Value::Array(list) if !list.is_empty() && chance.random_bool(0.3) => {
            let again = pick(list, chance).clone();
            let times = chance.random_range(1..30);
            list.extend(std::iter::repeat_n(again, times));
        }
        Value::Array(list) if deeper && !list.is_empty() => {
            let at = chance.random_range(0..list.len());
            change_value(&mut list[at], chance);
        }
        Value::String(text) if deeper => {
            let mut bytes = std::mem::take(text).into_bytes();
            change_bytes(&mut bytes, &[PIECES.concat().into_bytes()], chance);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        other => {
            *other = match chance.random_range(0..7) {
                0 => Value::Null,
                1 => json!({}),
                2 => json!([]),
                3 => json!(chance.random::<i64>()),
                4 => json!(chance.random::<f64>() * 1e9),
                5 => json!(chance.random::<bool>()),
                _ => json!(pick(PIECES, chance)),
            };
        }
    }
}

#[test]
fn what_fails_is_found_and_printed_in_full() {
    let found = catch_unwind(|| {
        fuzz("nothing", &[b"abc".to_vec()], |input| assert!(!input.bytes.contains(&b'*'), "a star"));
    });
    let words = *found.expect_err("a star comes within a second").downcast::<String>().unwrap();
    assert!(words.contains(SEED) && words.contains('*') && words.contains("2a"), "{words}");
}
