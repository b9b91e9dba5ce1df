//! Faults of the media store: the next downloads are slow or cut short.

use std::{collections::VecDeque, time::Duration};

use axum::body::Bytes;

/// What happens to a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaFault {
    /// It begins only after this time.
    Slow(Duration),
    /// It ends after so many bytes, as if that were all.
    Truncate(usize),
}

/// The armed faults, oldest first.
#[derive(Default)]
pub struct MediaFaults(VecDeque<MediaFault>);

impl MediaFaults {
    /// Arms a fault for the next `count` downloads after those armed before.
    pub fn arm(&mut self, fault: MediaFault, count: u32) {
        self.0.extend((0..count).map(|_| fault));
    }

    /// Takes the fault of the next download.
    pub fn take(&mut self) -> Option<MediaFault> {
        self.0.pop_front()
    }
}

impl MediaFault {
    /// Does to a file what the fault says.
    pub async fn apply(self, content: Bytes) -> Bytes {
        match self {
            Self::Slow(wait) => {
                tokio::time::sleep(wait).await;
                content
            }
            Self::Truncate(most) => content.slice(..most.min(content.len())),
        }
    }
}
