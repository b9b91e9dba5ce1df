//! Places as `geo:` addresses (RFC 5870), both ways.

/// A place on the earth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
    /// Metres it may be wrong by.
    pub uncertainty_m: Option<u32>,
}

impl Point {
    /// A place; `None` when the numbers are none on the earth.
    pub fn new(latitude: f64, longitude: f64, uncertainty_m: Option<u32>) -> Option<Self> {
        let real = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        real.then_some(Self { latitude, longitude, uncertainty_m: uncertainty_m.filter(|metres| *metres > 0) })
    }

    /// The place as an address: six digits behind the point, which is a hand's breadth.
    pub fn to_uri(self) -> String {
        let uncertainty = self.uncertainty_m.map(|metres| format!(";u={metres}")).unwrap_or_default();
        format!("geo:{},{}{uncertainty}", degrees(self.latitude), degrees(self.longitude))
    }

    /// Reads an address, with or without height, uncertainty and other parameters.
    pub fn of_uri(uri: &str) -> Option<Self> {
        let rest = uri.trim().get(4..).filter(|_| uri.trim()[..4].eq_ignore_ascii_case("geo:"))?;
        if rest.len() > 500 {
            return None;
        }
        let mut parameters = rest.split(';');
        let mut numbers = parameters.next()?.split(',').map(|number| number.trim().parse::<f64>().ok());
        let (latitude, longitude) = (numbers.next()??, numbers.next()??);
        // The height is read to see that it is one; WhatsApp has no place for it.
        if numbers.next().is_some_and(|height| height.is_none()) || numbers.next().is_some() {
            return None;
        }
        let uncertainty = parameters
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(key, _)| key.eq_ignore_ascii_case("u"))
            .and_then(|(_, value)| value.parse::<f64>().ok())
            .filter(|metres| (0.0..=40_000_000.0).contains(metres));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded on the line above")]
        Self::new(latitude, longitude, uncertainty.map(|metres| metres.round() as u32))
    }
}

/// A coordinate without the zeros nobody needs.
fn degrees(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_read_in_all_their_forms() {
        let at = |latitude, longitude, metres| Point::new(latitude, longitude, metres);
        for (uri, point) in [
            ("geo:52.5,13.4", at(52.5, 13.4, None)),
            ("geo:52.5,13.4,34.1;u=15", at(52.5, 13.4, Some(15))),
            ("GEO:-1,-2;crs=wgs84;u=2.6", at(-1.0, -2.0, Some(3))),
            ("geo:52.5", None),
            ("geo:91,0", None),
            ("geo:NaN,0", None),
            ("geo:1,2,x", None),
            ("geo:1,2,3,4", None),
            ("https://x", None),
            ("ge", None),
        ] {
            assert_eq!(Point::of_uri(uri), point, "{uri}");
        }
        assert_eq!(at(52.5, -0.000_000_01, Some(7)).unwrap().to_uri(), "geo:52.5,0;u=7");
    }

    proptest! {
        #[test]
        fn addresses_survive(latitude in -90.0..90.0_f64, longitude in -180.0..180.0_f64, metres in prop::option::of(1_u32..10_000)) {
            let point = Point::new(latitude, longitude, metres).unwrap();
            let back = Point::of_uri(&point.to_uri()).unwrap();
            prop_assert!((back.latitude - latitude).abs() < 1e-6 && (back.longitude - longitude).abs() < 1e-6);
            prop_assert_eq!(back.uncertainty_m, metres);
        }

        #[test]
        fn anything_can_be_read(text in "(geo:)?\\PC{0,40}") {
            Point::of_uri(&text);
        }
    }
}
