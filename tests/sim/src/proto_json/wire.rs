//! The wire format of protocol buffers: tags and values.

use anyhow::{Context, Result, bail};

/// One value as it is on the wire.
#[derive(Clone, Copy, Debug)]
pub enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl Wire<'_> {
    /// The number of a varint or fixed value; 0 for bytes.
    pub fn number(self) -> u64 {
        match self {
            Self::Varint(value) | Self::Fixed64(value) => value,
            Self::Fixed32(value) => u64::from(value),
            Self::Bytes(_) => 0,
        }
    }

    /// The text of a length-delimited value; empty when it is none.
    pub fn text(self) -> String {
        match self {
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }
}

/// The fields of an encoded message, in order. Errors when the bytes are none.
pub fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, Wire<'_>)>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let value = match tag & 7 {
            0 => Wire::Varint(varint(&mut bytes)?),
            1 => Wire::Fixed64(u64::from_le_bytes(take(&mut bytes)?)),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?)?;
                let (content, rest) = bytes.split_at_checked(length).context("a value is cut off")?;
                bytes = rest;
                Wire::Bytes(content)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(take(&mut bytes)?)),
            other => bail!("wire type {other}"),
        };
        all.push((tag >> 3, value));
    }
    Ok(all)
}

/// Reads one varint.
pub fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().context("a number is cut off")?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number is too long")
}

/// Takes a fixed number of bytes.
pub fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk().context("a number is cut off")?;
    *bytes = rest;
    Ok(*taken)
}

/// Writes one varint.
pub fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a length-delimited field.
pub fn put_bytes(number: u64, content: &[u8], out: &mut Vec<u8>) {
    put_varint(number << 3 | 2, out);
    put_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}
