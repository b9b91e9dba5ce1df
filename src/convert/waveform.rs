//! The shape of a recorded voice: WhatsApp draws 64 bars of 0 to 100, Matrix up to 120 of 0 to 1024 (MSC3246).

/// Bars WhatsApp draws.
pub const BARS: usize = 64;
/// WhatsApp's highest bar.
const WA_TOP: u64 = 100;
/// Matrix's highest bar.
const MX_TOP: u64 = 1024;
/// Bars kept in an event.
const MAX_BARS: usize = 120;

/// Bars for Matrix.
pub fn to_matrix(bars: &[u8]) -> Vec<u64> {
    let bars: Vec<u64> = bars.iter().map(|bar| u64::from(*bar).min(WA_TOP)).collect();
    let bars = if bars.len() > MAX_BARS { resample(&bars, MAX_BARS) } else { bars };
    bars.into_iter().map(|bar| (bar * MX_TOP + WA_TOP / 2) / WA_TOP).collect()
}

/// 64 bars for WhatsApp; none when there is nothing to draw.
pub fn to_whatsapp(bars: &[u64]) -> Vec<u8> {
    if bars.is_empty() {
        return Vec::new();
    }
    let bars: Vec<u64> = bars.iter().map(|bar| (*bar).min(MX_TOP)).collect();
    let scaled = resample(&bars, BARS).into_iter().map(|bar| (bar * WA_TOP + MX_TOP / 2) / MX_TOP);
    // At most 100, so it fits.
    scaled.map(|bar| u8::try_from(bar).unwrap_or(u8::MAX)).collect()
}

/// Another number of bars: the highest of each stretch when there are fewer, so that no word falls silent; the
/// nearest one when there are more.
fn resample(bars: &[u64], count: usize) -> Vec<u64> {
    (0..count)
        .map(|at| {
            let from = at * bars.len() / count;
            let to = ((at + 1) * bars.len() / count).max(from + 1);
            bars[from..to.min(bars.len())].iter().copied().max().unwrap_or(0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scales_meet_at_their_ends() {
        assert_eq!(to_matrix(&[0, 50, 100, 255]), [0, 512, 1024, 1024]);
        assert_eq!(to_whatsapp(&[0, 1024])[..], [[0_u8; 32], [100; 32]].concat());
        assert!(to_whatsapp(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn a_shape_of_64_bars_survives(bars in prop::collection::vec(0_u8..=100, BARS)) {
            prop_assert_eq!(to_whatsapp(&to_matrix(&bars)), bars);
        }

        #[test]
        fn any_shape_is_bounded(bars in prop::collection::vec(any::<u64>(), 0..3_000), bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
            let out = to_whatsapp(&bars);
            prop_assert!(out.len() == BARS || bars.is_empty());
            prop_assert!(out.iter().all(|bar| *bar <= 100));
            prop_assert!(to_matrix(&bytes).len() <= MAX_BARS);
        }
    }
}
