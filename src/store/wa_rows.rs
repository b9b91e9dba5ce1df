//! Statements of the library's backend: single ones, and one statement for many rows.
//!
//! A statement carries its name (the first line of its text) for errors. Many rows are written in chunks of fixed
//! sizes, so that few texts are ever prepared; the placeholders are numbered here and nowhere else.

use sqlx::any::{Any, AnyArguments};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Encode, Type};
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use crate::derive::body_hash;

/// A named statement with what is bound so far.
pub(super) struct Statement {
    pub(super) name: &'static str,
    pub(super) query: Query<'static, Any, AnyArguments>,
}

impl Statement {
    /// Of a const text that begins with `-- name`.
    pub(super) fn of(text: &'static str) -> Self {
        Self { name: name_of(text), query: sqlx::query(text) }
    }

    /// Binds the next placeholder.
    pub(super) fn bind<'t, T: Encode<'t, Any> + Type<Any>>(self, value: T) -> Self {
        Self { query: self.query.bind(value), ..self }
    }

    /// Binds text that strangers may have chosen; see [`key_text`].
    pub(super) fn bind_key(self, text: &str) -> Self {
        self.bind(key_text(text).as_ref())
    }
}

/// What stands after `-- ` in a text's first line.
pub(super) fn name_of(text: &'static str) -> &'static str {
    text.lines().next().unwrap_or_default().trim_start_matches("-- ")
}

/// The longest text used as a key as it is, in bytes.
const LONGEST_KEY: usize = 400;

/// Text fit for a key column of both databases: Postgres takes neither U+0000 nor index rows above 2.7 kB, and a
/// stranger's message id must not be able to stop a login by being either. What does not fit becomes its hash.
pub(super) fn key_text(text: &str) -> Cow<'_, str> {
    if text.len() > LONGEST_KEY || text.contains('\0') {
        Cow::Owned(format!("#{}", body_hash(text.as_bytes())))
    } else {
        Cow::Borrowed(text)
    }
}

/// How many rows one statement takes; the largest that fits is used again and again.
const SIZES: [usize; 8] = [64, 32, 16, 8, 4, 3, 2, 1];

/// A statement over a list of rows: `head`, then `row` once per row with a comma between, then `tail`.
///
/// In `row` every `?` is the row's next value; `$1`… up to `shared` are bound once for all rows.
pub(super) struct Rows {
    head: &'static str,
    shared: usize,
    row: &'static str,
    tail: &'static str,
    texts: OnceLock<Vec<Arc<str>>>,
}

impl Rows {
    pub(super) const fn new(head: &'static str, shared: usize, row: &'static str, tail: &'static str) -> Self {
        Self { head, shared, row, tail, texts: OnceLock::new() }
    }

    pub(super) fn name(&self) -> &'static str {
        name_of(self.head)
    }

    /// Cuts a list into pieces one statement can take each.
    pub(super) fn chunks<'a, T>(&self, mut items: &'a [T]) -> Vec<&'a [T]> {
        let mut chunks = Vec::new();
        for size in SIZES {
            while items.len() >= size {
                let (chunk, rest) = items.split_at(size);
                chunks.push(chunk);
                items = rest;
            }
        }
        chunks
    }

    /// The statement for exactly `count` rows, a length that [`Rows::chunks`] gave.
    pub(super) fn statement(&'static self, count: usize) -> Statement {
        let texts = self.texts();
        let text = SIZES.iter().position(|size| *size == count).and_then(|at| texts.get(at)).cloned();
        // `chunks` gives lengths of SIZES only; any other length is made on the spot.
        let text = text.unwrap_or_else(|| self.text(count));
        // Made of const pieces and numbers only.
        Statement { name: self.name(), query: sqlx::query(AssertSqlSafe(text)) }
    }

    /// Every text this can become, in order of [`SIZES`].
    pub(super) fn texts(&'static self) -> &'static [Arc<str>] {
        self.texts.get_or_init(|| SIZES.iter().map(|size| self.text(*size)).collect())
    }

    fn text(&self, count: usize) -> Arc<str> {
        let mut next = self.shared;
        let mut text = String::from(self.head);
        for row in 0..count {
            text.push_str(if row == 0 { "" } else { ", " });
            for char in self.row.chars() {
                if char == '?' {
                    next += 1;
                    text.push('$');
                    text.push_str(&next.to_string());
                } else {
                    text.push(char);
                }
            }
        }
        text.push_str(self.tail);
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_across_rows() {
        static ROWS: Rows = Rows::new("-- t.put\nINSERT VALUES ", 1, "($1, ?, ?)", " END");
        assert_eq!(&*ROWS.texts()[7], "-- t.put\nINSERT VALUES ($1, $2, $3) END");
        assert_eq!(&*ROWS.texts()[6], "-- t.put\nINSERT VALUES ($1, $2, $3), ($1, $4, $5) END");
        assert_eq!(ROWS.name(), "t.put");
    }

    #[test]
    fn chunks_keep_order_and_lose_nothing() {
        static ROWS: Rows = Rows::new("", 0, "", "");
        for len in 0..300_usize {
            let items: Vec<usize> = (0..len).collect();
            let chunks = ROWS.chunks(&items);
            assert!(chunks.iter().all(|chunk| SIZES.contains(&chunk.len())));
            assert_eq!(chunks.concat(), items);
        }
    }

    #[test]
    fn keys_no_database_refuses() {
        assert_eq!(key_text("3EB0ABC"), "3EB0ABC");
        let long = "x".repeat(5_000);
        assert_eq!(key_text(&long).len(), 65);
        assert!(!key_text("a\0b").contains('\0'));
        assert_ne!(key_text("a\0b"), key_text("a\0c"));
        assert_eq!(key_text("a\0b"), key_text("a\0b"));
    }
}
