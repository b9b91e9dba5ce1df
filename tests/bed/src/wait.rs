//! Waiting for conditions, never for time.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a single step of a story may take before it counts as "does not happen".
///
/// Generous: the machine may be busy with several stories and a build. Nothing waits this long when all is well.
pub const STEP: Duration = Duration::from_secs(40);

/// Asks `check` again and again until it returns something; returns that.
///
/// # Errors
/// `check` failed, or `limit` passed; the text says what was waited for.
pub async fn until<T, Check, Answer>(what: &str, limit: Duration, check: Check) -> Result<T>
where
    Check: FnMut() -> Answer,
    Answer: Future<Output = Result<Option<T>>>,
{
    until_every(Duration::from_millis(20), what, limit, check).await
}

/// As [`until`], asking as often as said: for measuring.
///
/// # Errors
/// As [`until`].
pub async fn until_every<T, Check, Answer>(pause: Duration, what: &str, limit: Duration, mut check: Check) -> Result<T>
where
    Check: FnMut() -> Answer,
    Answer: Future<Output = Result<Option<T>>>,
{
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = check().await? {
            return Ok(found);
        }
        if Instant::now() >= end {
            bail!("waited {} s in vain: {what}", limit.as_secs_f32());
        }
        tokio::time::sleep(pause).await;
    }
}
