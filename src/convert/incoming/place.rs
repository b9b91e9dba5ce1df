//! Places, standing and moving.

use super::Effect;
use super::frame::Frame;
use super::media::thumbnail;
use crate::convert::geo::Point;
use crate::convert::part::MxPart;
use crate::convert::words;
use serde_json::{Map, Value, json};
use whatsapp_rust::prelude::wa;

pub(super) fn location(frame: &Frame<'_>, place: &wa::message::LocationMessage) -> Vec<MxPart> {
    let lines = describe(place);
    let accuracy = place.accuracy_in_meters;
    let Some(point) = point(place.degrees_latitude, place.degrees_longitude, accuracy) else {
        return frame.text("m.text", &format!("Location without a place\n{}", lines.join("\n")), Map::new());
    };
    let mut part = event(frame, point, &lines, "m.pin", "Location");
    part.thumbnail = thumbnail(place.jpeg_thumbnail.as_ref());
    vec![part]
}

/// What a place is called, line by line.
pub(super) fn describe(place: &wa::message::LocationMessage) -> Vec<String> {
    let mut lines = Vec::new();
    for text in [&place.name, &place.address, &place.comment] {
        let line = words::line(text.as_deref().unwrap_or_default(), 500);
        if !line.is_empty() && !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.extend(place.url.as_deref().and_then(words::web_address).map(str::to_owned));
    lines
}

/// The place of a message as an address, for texts. What has a name only has zeros for its place.
pub(super) fn uri(place: &wa::message::LocationMessage) -> Option<String> {
    let is_named_only = place.degrees_latitude == Some(0.0) && place.degrees_longitude == Some(0.0);
    let found = point(place.degrees_latitude, place.degrees_longitude, place.accuracy_in_meters);
    found.filter(|_| !is_named_only).map(Point::to_uri)
}

fn point(latitude: Option<f64>, longitude: Option<f64>, accuracy: Option<u32>) -> Option<Point> {
    Point::new(latitude?, longitude?, accuracy)
}

fn event(frame: &Frame<'_>, point: Point, lines: &[String], asset: &str, otherwise: &str) -> MxPart {
    let uri = point.to_uri();
    let text = if lines.is_empty() { otherwise.to_owned() } else { lines.join("\n") };
    let mut location = json!({ "uri": uri });
    if let Some(first) = lines.first() {
        location["description"] = first.as_str().into();
    }
    let mut extra: Map<String, Value> = Map::new();
    extra.insert("msgtype".into(), "m.location".into());
    extra.insert("geo_uri".into(), uri.into());
    extra.insert("org.matrix.msc3488.location".into(), location);
    extra.insert("org.matrix.msc3488.asset".into(), json!({ "type": asset }));
    let mut body = frame.body(&text);
    // A place's name is no formatted text.
    body.html = None;
    frame.part(&body, extra)
}

pub(super) fn live(frame: &Frame<'_>, place: &wa::message::LiveLocationMessage) -> Effect {
    let mut lines = vec!["Live location".to_owned()];
    let caption = words::line(place.caption.as_deref().unwrap_or_default(), 500);
    lines.extend(Some(caption).filter(|caption| !caption.is_empty()));
    if let Some(speed) = place.speed_in_mps.filter(|speed| (0.5..400.0).contains(speed)) {
        lines.push(format!("{:.0} km/h", speed * 3.6));
    }
    let parts = match point(place.degrees_latitude, place.degrees_longitude, place.accuracy_in_meters) {
        Some(point) => {
            let mut part = event(frame, point, &lines, "m.self", "Live location");
            part.thumbnail = thumbnail(place.jpeg_thumbnail.as_ref());
            vec![part]
        }
        None => frame.notice("Live location: the position is shown on your phone."),
    };
    Effect::LiveLocation { sequence: place.sequence_number.unwrap_or(0), parts }
}

#[cfg(test)]
mod tests {
    use super::uri;
    use whatsapp_rust::prelude::wa;

    #[test]
    fn a_place_that_has_a_name_only_has_no_address() {
        let at = |latitude, longitude| {
            let place = wa::message::LocationMessage {
                degrees_latitude: latitude,
                degrees_longitude: longitude,
                name: Some("The pier".into()),
                ..Default::default()
            };
            uri(&place)
        };
        assert_eq!(at(Some(0.0), Some(0.0)), None);
        assert_eq!(at(None, None), None);
        assert_eq!(at(Some(0.0), Some(4.5)).as_deref(), Some("geo:0,4.5"));
    }
}
