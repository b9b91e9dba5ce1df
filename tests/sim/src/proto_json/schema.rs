//! What the descriptor says about each message and enum.

use std::{collections::HashMap, sync::OnceLock};

use anyhow::{Context, Result, anyhow, bail};

use super::wire::{Wire, fields};

static DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/whatsapp.desc"));

/// How a field's values are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Double,
    Float,
    /// Signed, two's complement.
    Int,
    /// Signed 32 bits, two's complement.
    Int32,
    Unsigned,
    /// Signed, zigzag.
    Signed,
    Fixed64,
    Fixed32,
    SignedFixed64,
    SignedFixed32,
    Bool,
    Text,
    Bytes,
    /// A message of this type.
    Message(String),
    /// An enum of this type.
    Enum(String),
}

/// A field of a message.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub number: u64,
    pub repeated: bool,
    pub packed: bool,
    pub kind: Kind,
}

/// A message type.
#[derive(Default)]
pub struct MessageType {
    pub name: String,
    /// An entry of a map: its fields are `key` and `value`.
    pub map_entry: bool,
    pub fields: Vec<Field>,
}

impl MessageType {
    /// The field of a number, if there is one.
    pub fn by_number(&self, number: u64) -> Option<&Field> {
        self.fields.iter().find(|field| field.number == number)
    }

    /// The field of a name; errors when there is none.
    pub fn by_name(&self, name: &str) -> Result<&Field> {
        let found = self.fields.iter().find(|field| field.name == name);
        found.with_context(|| format!("{} has no field {name:?}", self.name.trim_start_matches(".whatsapp.")))
    }
}

/// All types.
#[derive(Default)]
pub struct Schema {
    messages: HashMap<String, MessageType>,
    enums: HashMap<String, Vec<(String, i64)>>,
}

impl Schema {
    /// The schema of the descriptor this was built with.
    pub fn get() -> Result<&'static Self> {
        static SCHEMA: OnceLock<std::result::Result<Schema, String>> = OnceLock::new();
        let schema = SCHEMA.get_or_init(|| Self::decode(DESCRIPTOR).map_err(|error| format!("{error:#}")));
        schema.as_ref().map_err(|error| anyhow!("descriptor: {error}"))
    }

    /// A message type by its full name.
    pub fn message(&self, name: &str) -> Result<&MessageType> {
        self.messages.get(name).with_context(|| format!("no message type {name}"))
    }

    /// The name of an enum's value, if it has one.
    pub fn value_name(&self, name: &str, number: i64) -> Option<&str> {
        let values = self.enums.get(name)?;
        values.iter().find(|(_, known)| *known == number).map(|(name, _)| name.as_str())
    }

    /// The number of an enum's value, if there is one of this name.
    pub fn value_number(&self, name: &str, value: &str) -> Option<i64> {
        let values = self.enums.get(name)?;
        values.iter().find(|(known, _)| known == value).map(|(_, number)| *number)
    }

    fn decode(descriptor: &[u8]) -> Result<Self> {
        let mut schema = Self::default();
        for (_, file) in messages(descriptor, &[1])? {
            let package = fields(file)?.into_iter().find(|(number, _)| *number == 2);
            let scope = format!(".{}", package.map_or_else(String::new, |(_, name)| name.text()));
            for (number, content) in messages(file, &[4, 5])? {
                match number {
                    4 => schema.add_message(&scope, content)?,
                    _ => schema.add_enum(&scope, content)?,
                }
            }
        }
        Ok(schema)
    }

    fn add_message(&mut self, scope: &str, content: &[u8]) -> Result<()> {
        let name = format!("{scope}.{}", name_of(content)?);
        let mut message = MessageType { name: name.clone(), ..Default::default() };
        for (number, content) in messages(content, &[2, 3, 4, 7])? {
            match number {
                2 => message.fields.push(read_field(content)?),
                3 => self.add_message(&name, content)?,
                4 => self.add_enum(&name, content)?,
                _ => message.map_entry = fields(content)?.iter().any(|(number, set)| *number == 7 && set.number() == 1),
            }
        }
        self.messages.insert(name, message);
        Ok(())
    }

    fn add_enum(&mut self, scope: &str, content: &[u8]) -> Result<()> {
        let name = format!("{scope}.{}", name_of(content)?);
        let mut values = Vec::new();
        for (_, value) in messages(content, &[2])? {
            let number = fields(value)?.into_iter().find(|(number, _)| *number == 2);
            values.push((name_of(value)?, number.map_or(0, |(_, value)| value.number() as i64)));
        }
        self.enums.insert(name, values);
        Ok(())
    }
}

/// The length-delimited fields with one of these numbers.
fn messages<'a>(content: &'a [u8], wanted: &[u64]) -> Result<Vec<(u64, &'a [u8])>> {
    let all = fields(content)?.into_iter();
    Ok(all
        .filter_map(|(number, value)| match value {
            Wire::Bytes(content) if wanted.contains(&number) => Some((number, content)),
            _ => None,
        })
        .collect())
}

/// Field 1 of every descriptor is its name.
fn name_of(content: &[u8]) -> Result<String> {
    let name = fields(content)?.into_iter().find(|(number, _)| *number == 1);
    name.map(|(_, value)| value.text()).context("a descriptor without a name")
}

fn read_field(content: &[u8]) -> Result<Field> {
    let (mut number, mut label, mut kind, mut type_name, mut packed) = (0, 0, 0, String::new(), false);
    for (tag, value) in fields(content)? {
        match (tag, value) {
            (3, value) => number = value.number(),
            (4, value) => label = value.number(),
            (5, value) => kind = value.number(),
            (6, value) => type_name = value.text(),
            (8, Wire::Bytes(options)) => {
                packed = fields(options)?.iter().any(|(tag, set)| *tag == 2 && set.number() == 1);
            }
            _ => {}
        }
    }
    let kind = match kind {
        1 => Kind::Double,
        2 => Kind::Float,
        3 => Kind::Int,
        4 | 13 => Kind::Unsigned,
        5 => Kind::Int32,
        6 => Kind::Fixed64,
        7 => Kind::Fixed32,
        8 => Kind::Bool,
        9 => Kind::Text,
        11 => Kind::Message(type_name),
        12 => Kind::Bytes,
        14 => Kind::Enum(type_name),
        15 => Kind::SignedFixed32,
        16 => Kind::SignedFixed64,
        17 | 18 => Kind::Signed,
        other => bail!("field type {other}"),
    };
    Ok(Field { name: name_of(content)?, number, repeated: label == 3, packed, kind })
}
