//! Downloads: `GET <direct_path>`, whole or a range.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State as Extract,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt as _;

use super::{Blob, MediaFaults, Query};
use crate::{faults::MediaEffect, simulator::Shared, state::State};

/// Serves a file: 404 for one that never was, its own status for one that is
/// gone, 206 for a range, 416 for one beyond the end.
pub async fn handle(Extract(shared): Extract<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok()).map(str::to_owned);
    shared.with(|state| {
        let response = answer(state, &uri, range.as_deref());
        let start = range.as_deref().and_then(|r| parse_range(r, u64::MAX)).map_or(0, |(start, _)| start);
        state.media.downloads.push((uri.path().to_owned(), start, response.status().as_u16()));
        response
    })
}

fn answer(state: &mut State, uri: &Uri, range: Option<&str>) -> Response {
    let store = &state.media;
    let status = |code: u16| StatusCode::from_u16(code).unwrap_or(StatusCode::NOT_FOUND).into_response();
    let query = Query::parse(uri.query());
    if let Some(code) = store.refusal(&query) {
        return status(code);
    }
    match store.files.get(uri.path()).map(|entry| entry.gone.ok_or(entry.blob.clone())) {
        None => status(404),
        Some(Ok(code)) => status(code),
        Some(Err(blob)) => {
            let faults = faults(state, &query);
            serve(&blob, range, &faults)
        }
    }
}

/// What goes wrong with this download: with all of now, or by a rule of the account it is for.
fn faults(state: &mut State, query: &Query) -> MediaFaults {
    let mut faults = state.media.faults.clone();
    let account = query.credentials().and_then(|(_, number)| state.accounts.get_mut(&number));
    match account.and_then(|account| account.rules.take_media()) {
        Some(MediaEffect::Slow(pace)) => faults.bytes_per_second = Some(pace),
        Some(MediaEffect::Truncate(length)) => faults.truncate_at = Some(length),
        None => {}
    }
    faults
}

fn serve(blob: &Blob, range: Option<&str>, faults: &MediaFaults) -> Response {
    let whole = blob.len().min(faults.truncate_at.unwrap_or(u64::MAX));
    let (status, start, end) = match range.map(|range| parse_range(range, whole)) {
        None => (StatusCode::OK, 0, whole),
        Some(Some((start, end))) => (StatusCode::PARTIAL_CONTENT, start, end),
        Some(None) => {
            let all = [(header::CONTENT_RANGE, format!("bytes */{whole}"))];
            return (StatusCode::RANGE_NOT_SATISFIABLE, all).into_response();
        }
    };
    let pace = faults.bytes_per_second;
    let pieces = blob.stream(start, end).then(move |piece| async move {
        if let (Some(pace), Ok(piece)) = (pace, &piece) {
            let seconds = piece.len() as f64 / pace.max(1) as f64;
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        }
        piece
    });
    let mut response = (status, Body::from_stream(pieces)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, header::HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, (end - start).into());
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = format!("bytes {start}-{}/{whole}", end - 1).parse()
    {
        headers.insert(header::CONTENT_RANGE, value);
    }
    response
}

/// `bytes=FIRST-LAST`, either of which may be missing: the first byte and the
/// one after the last. Nothing when there is no such part.
fn parse_range(range: &str, length: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(start), Ok(last)) => (start, last.saturating_add(1).min(length)),
        (Ok(start), Err(_)) if last.is_empty() => (start, length),
        // The last so many bytes.
        (Err(_), Ok(count)) if first.is_empty() => (length.saturating_sub(count), length),
        _ => return None,
    };
    (start < end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::parse_range;

    #[test]
    fn ranges_are_read_as_http_has_them() {
        for (text, expected) in [
            ("bytes=0-", Some((0, 10))),
            ("bytes=3-5", Some((3, 6))),
            ("bytes=3-99", Some((3, 10))),
            ("bytes=-4", Some((6, 10))),
            ("bytes=10-", None),
            ("bytes=5-3", None),
            ("bytes=-0", None),
            ("lines=1-2", None),
            ("bytes=a-b", None),
        ] {
            assert_eq!(parse_range(text, 10), expected, "{text}");
        }
    }
}
