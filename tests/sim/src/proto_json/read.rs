//! From the wire to JSON.

use anyhow::{Result, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::{
    schema::{Field, Kind, MessageType, Schema},
    wire::{Wire, fields, take, varint},
};

/// Shows an encoded message. What the schema does not know is left out.
pub fn message(schema: &Schema, kind: &MessageType, encoded: &[u8]) -> Result<Value> {
    let mut object = Map::new();
    for (number, wire) in fields(encoded)? {
        let Some(field) = kind.by_number(number) else {
            continue;
        };
        if let Kind::Message(name) = &field.kind
            && schema.message(name)?.map_entry
            && let Wire::Bytes(content) = wire
        {
            add_entry(schema, schema.message(name)?, content, slot(&mut object, field, json!({})))?;
            continue;
        }
        for value in values(schema, field, wire)? {
            if !field.repeated {
                object.insert(field.name.clone(), value);
            } else if let Value::Array(list) = slot(&mut object, field, json!([])) {
                list.push(value);
            }
        }
    }
    Ok(Value::Object(object))
}

fn slot<'a>(object: &'a mut Map<String, Value>, field: &Field, empty: Value) -> &'a mut Value {
    object.entry(field.name.clone()).or_insert(empty)
}

/// One entry of a map: its key becomes the name.
fn add_entry(schema: &Schema, kind: &MessageType, content: &[u8], map: &mut Value) -> Result<()> {
    let Value::Object(entry) = message(schema, kind, content)? else {
        return Ok(());
    };
    let key = match entry.get("key") {
        Some(Value::String(key)) => key.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    if let Value::Object(map) = map {
        map.insert(key, entry.get("value").cloned().unwrap_or(Value::Null));
    }
    Ok(())
}

/// The value of one wire field; several when numbers are packed.
fn values(schema: &Schema, field: &Field, wire: Wire<'_>) -> Result<Vec<Value>> {
    let whole = matches!(field.kind, Kind::Text | Kind::Bytes | Kind::Message(_));
    let Wire::Bytes(mut packed) = wire else {
        return Ok(vec![scalar(schema, &field.kind, wire)?]);
    };
    if whole {
        return Ok(vec![scalar(schema, &field.kind, wire)?]);
    }
    let mut all = Vec::new();
    while !packed.is_empty() {
        let one = match field.kind {
            Kind::Double | Kind::Fixed64 | Kind::SignedFixed64 => Wire::Fixed64(u64::from_le_bytes(take(&mut packed)?)),
            Kind::Float | Kind::Fixed32 | Kind::SignedFixed32 => Wire::Fixed32(u32::from_le_bytes(take(&mut packed)?)),
            _ => Wire::Varint(varint(&mut packed)?),
        };
        all.push(scalar(schema, &field.kind, one)?);
    }
    Ok(all)
}

fn scalar(schema: &Schema, kind: &Kind, wire: Wire<'_>) -> Result<Value> {
    let number = wire.number();
    Ok(match (kind, wire) {
        (Kind::Text, Wire::Bytes(content)) => json!(String::from_utf8_lossy(content)),
        (Kind::Bytes, Wire::Bytes(content)) => json!(BASE64_STANDARD.encode(content)),
        (Kind::Message(name), Wire::Bytes(content)) => message(schema, schema.message(name)?, content)?,
        (_, Wire::Bytes(_)) => bail!("bytes where a number belongs"),
        (Kind::Text | Kind::Bytes | Kind::Message(_), _) => bail!("a number where bytes belong"),
        (Kind::Double, _) => json!(f64::from_bits(number)),
        (Kind::Float, _) => json!(f32::from_bits(number as u32)),
        (Kind::Int | Kind::SignedFixed64, _) => json!(number as i64),
        (Kind::Int32 | Kind::SignedFixed32, _) => json!(number as i32),
        (Kind::Unsigned | Kind::Fixed64 | Kind::Fixed32, _) => json!(number),
        (Kind::Signed, _) => json!((number >> 1) as i64 ^ -((number & 1) as i64)),
        (Kind::Bool, _) => json!(number != 0),
        (Kind::Enum(name), _) => match schema.value_name(name, number as i64) {
            Some(name) => json!(name),
            None => json!(number as i64),
        },
    })
}
