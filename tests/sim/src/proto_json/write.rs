//! From JSON to the wire.

use anyhow::{Context, Result, anyhow, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    schema::{Field, Kind, MessageType, Schema},
    wire::{put_bytes, put_varint},
};

/// Encodes a JSON object as a message.
pub fn message(schema: &Schema, kind: &MessageType, value: &Value) -> Result<Vec<u8>> {
    let object = value.as_object().with_context(|| format!("{} is an object, not {value}", kind.name))?;
    let mut fields = Vec::new();
    for (name, value) in object {
        if !value.is_null() {
            fields.push((kind.by_name(name)?, value));
        }
    }
    // In the order of their numbers, as every encoder writes them.
    fields.sort_by_key(|(field, _)| field.number);
    let mut out = Vec::new();
    for (field, value) in fields {
        put_field(schema, field, value, &mut out).with_context(|| field.name.clone())?;
    }
    Ok(out)
}

fn put_field(schema: &Schema, field: &Field, value: &Value, out: &mut Vec<u8>) -> Result<()> {
    if let Kind::Message(name) = &field.kind
        && schema.message(name)?.map_entry
    {
        for (key, value) in value.as_object().context("a map is an object")? {
            let entry = json!({ "key": key, "value": value });
            put_bytes(field.number, &message(schema, schema.message(name)?, &entry)?, out);
        }
        return Ok(());
    }
    if !field.repeated {
        return put_tagged(schema, field, value, out);
    }
    let list = value.as_array().context("a repeated field is a list")?;
    if field.packed {
        let mut packed = Vec::new();
        for value in list {
            put_scalar(schema, &field.kind, value, &mut packed)?;
        }
        put_bytes(field.number, &packed, out);
        return Ok(());
    }
    list.iter().try_for_each(|value| put_tagged(schema, field, value, out))
}

fn put_tagged(schema: &Schema, field: &Field, value: &Value, out: &mut Vec<u8>) -> Result<()> {
    let wire_type = match &field.kind {
        Kind::Text => {
            let text = value.as_str().with_context(|| format!("a text, not {value}"))?;
            put_bytes(field.number, text.as_bytes(), out);
            return Ok(());
        }
        Kind::Bytes => {
            put_bytes(field.number, &read_bytes(value)?, out);
            return Ok(());
        }
        Kind::Message(name) => {
            put_bytes(field.number, &message(schema, schema.message(name)?, value)?, out);
            return Ok(());
        }
        Kind::Double | Kind::Fixed64 | Kind::SignedFixed64 => 1,
        Kind::Float | Kind::Fixed32 | Kind::SignedFixed32 => 5,
        _ => 0,
    };
    put_varint(field.number << 3 | wire_type, out);
    put_scalar(schema, &field.kind, value, out)
}

fn put_scalar(schema: &Schema, kind: &Kind, value: &Value, out: &mut Vec<u8>) -> Result<()> {
    match kind {
        Kind::Double => out.extend(read_float(value)?.to_le_bytes()),
        Kind::Float => out.extend((read_float(value)? as f32).to_le_bytes()),
        Kind::Int | Kind::Int32 => put_varint(read_signed(value)? as u64, out),
        Kind::Unsigned => put_varint(read_unsigned(value)?, out),
        Kind::Signed => {
            let number = read_signed(value)?;
            put_varint(((number << 1) ^ (number >> 63)) as u64, out);
        }
        Kind::Fixed64 => out.extend(read_unsigned(value)?.to_le_bytes()),
        Kind::SignedFixed64 => out.extend(read_signed(value)?.to_le_bytes()),
        Kind::Fixed32 => out.extend(u32::try_from(read_unsigned(value)?)?.to_le_bytes()),
        Kind::SignedFixed32 => out.extend(i32::try_from(read_signed(value)?)?.to_le_bytes()),
        Kind::Bool => {
            let set = value.as_bool().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
            out.push(u8::from(set.with_context(|| format!("true or false, not {value}"))?));
        }
        Kind::Enum(name) => {
            let number = match value.as_str() {
                Some(text) => schema.value_number(name, text).with_context(|| format!("{name} has no {text}"))?,
                None => read_signed(value)?,
            };
            put_varint(number as u64, out);
        }
        Kind::Text | Kind::Bytes | Kind::Message(_) => bail!("this is no number"),
    }
    Ok(())
}

fn read_bytes(value: &Value) -> Result<Vec<u8>> {
    let text = value.as_str().with_context(|| format!("base64, not {value}"))?;
    BASE64_STANDARD.decode(text).with_context(|| format!("{text:?} is no base64"))
}

fn read_float(value: &Value) -> Result<f64> {
    value.as_f64().ok_or_else(|| anyhow!("a number, not {value}"))
}

/// 64-bit numbers may be texts: not every JSON library has them.
fn read_signed(value: &Value) -> Result<i64> {
    let parsed = value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    parsed.ok_or_else(|| anyhow!("a number, not {value}"))
}

fn read_unsigned(value: &Value) -> Result<u64> {
    let parsed = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    parsed.ok_or_else(|| anyhow!("a number, not {value}"))
}
