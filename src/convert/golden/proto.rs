//! WhatsApp's messages as JSON in the names of their protocol, both ways, by the protocol's own text.
//!
//! The library can write its messages as JSON but not read them, so its `.proto` file is looked up where cargo keeps
//! the sources and read here: messages, enums and fields, no more.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value, json};
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

pub struct Schema {
    messages: HashMap<String, Vec<Field>>,
    enums: HashMap<String, Vec<(String, u64)>>,
}

struct Field {
    name: String,
    number: u64,
    kind: String,
    repeated: bool,
}

fn proto_file() -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let run = |arguments: &[&str]| {
        let out = Command::new(&cargo).args(arguments).output().expect("cargo runs");
        assert!(out.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        out
    };
    // Only what is built here has sources here.
    let version = String::from_utf8(run(&["-vV"]).stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo tells its host");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let out =
        run(&["metadata", "--format-version=1", "--offline", "--filter-platform", host, "--manifest-path", manifest]);
    let metadata: Value = serde_json::from_slice(&out.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == "waproto").expect("the protocol's package");
    PathBuf::from(package["manifest_path"].as_str().unwrap()).with_file_name("src").join("whatsapp.proto")
}

impl Schema {
    pub fn load() -> Self {
        let file = proto_file();
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut schema = Self { messages: HashMap::new(), enums: HashMap::new() };
        // Names of what is open: messages and enums by name, `oneof` by nothing.
        let mut open: Vec<(String, bool)> = Vec::new();
        for line in text.lines().map(|line| line.trim()) {
            let words: Vec<&str> = line.trim_end_matches(['{', ';']).split_whitespace().collect();
            let path = |open: &[(String, bool)]| {
                open.iter()
                    .filter(|(name, _)| !name.is_empty())
                    .map(|(name, _)| name.as_str())
                    .collect::<Vec<_>>()
                    .join(".")
            };
            match words[..] {
                ["message" | "enum", name] if line.ends_with('{') => {
                    let is_enum = words[0] == "enum";
                    open.push((name.to_owned(), is_enum));
                    let path = path(&open);
                    if is_enum {
                        schema.enums.insert(path, Vec::new());
                    } else {
                        schema.messages.insert(path, Vec::new());
                    }
                }
                ["oneof", _] => open.push((String::new(), false)),
                ["}"] => drop(open.pop()),
                [name, "=", number, ..] if open.last().is_some_and(|(_, is_enum)| *is_enum) => {
                    let value = (name.to_owned(), number.parse::<i64>().unwrap().cast_unsigned());
                    schema.enums.get_mut(&path(&open)).unwrap().push(value);
                }
                ["optional" | "required" | "repeated", kind, name, "=", number, ..] => {
                    schema.add(&path(&open), kind, name, number, words[0] == "repeated");
                }
                [kind, name, "=", number, ..] if !open.is_empty() => {
                    schema.add(&path(&open), kind, name, number, false)
                }
                _ => {}
            }
        }
        schema
    }

    fn add(&mut self, message: &str, kind: &str, name: &str, number: &str, repeated: bool) {
        let field = Field { name: name.to_owned(), number: number.parse().unwrap(), kind: kind.to_owned(), repeated };
        self.messages.get_mut(message).unwrap().push(field);
    }

    /// The full name of a type named inside of a message: looked for from the inside outwards.
    fn resolve(&self, scope: &str, kind: &str) -> String {
        let mut scope = scope;
        loop {
            let full = if scope.is_empty() { kind.to_owned() } else { format!("{scope}.{kind}") };
            if self.messages.contains_key(&full) || self.enums.contains_key(&full) {
                return full;
            }
            assert!(!scope.is_empty(), "no type {kind}");
            scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
    }

    /// JSON as the bytes of a message.
    pub fn encode(&self, message: &str, value: &Value) -> Vec<u8> {
        let fields = &self.messages[message];
        let mut out = Vec::new();
        for (key, value) in value.as_object().unwrap_or_else(|| panic!("{message} is no object")) {
            let field =
                fields.iter().find(|field| field.name == *key).unwrap_or_else(|| panic!("{message} has no {key}"));
            let values = if field.repeated { value.as_array().expect("a list").iter().collect() } else { vec![value] };
            for value in values {
                self.encode_field(message, field, value, &mut out);
            }
        }
        out
    }

    fn encode_field(&self, message: &str, field: &Field, value: &Value, out: &mut Vec<u8>) {
        let tag = |wire: u64| field.number << 3 | wire;
        let mut bytes = |content: &[u8]| {
            varint(tag(2), out);
            varint(content.len() as u64, out);
            out.extend(content);
        };
        let integer = || {
            value
                .as_i64()
                .map(i64::cast_unsigned)
                .or(value.as_u64())
                .unwrap_or_else(|| panic!("{} is no number", field.name))
        };
        match field.kind.as_str() {
            "string" => bytes(value.as_str().unwrap_or_else(|| panic!("{} is no text", field.name)).as_bytes()),
            "bytes" => bytes(
                &STANDARD.decode(value.as_str().unwrap()).unwrap_or_else(|_| panic!("{} is no base64", field.name)),
            ),
            "bool" => [tag(0), u64::from(value.as_bool().unwrap())].into_iter().for_each(|number| varint(number, out)),
            "int32" | "int64" | "uint32" | "uint64" => {
                [tag(0), integer()].into_iter().for_each(|number| varint(number, out))
            }
            "double" => {
                varint(tag(1), out);
                out.extend(value.as_f64().unwrap().to_le_bytes());
            }
            "float" => {
                varint(tag(5), out);
                #[expect(clippy::cast_possible_truncation, reason = "the protocol has single precision")]
                out.extend((value.as_f64().unwrap() as f32).to_le_bytes());
            }
            "fixed32" | "sfixed32" => {
                varint(tag(5), out);
                out.extend(u32::try_from(integer()).unwrap().to_le_bytes());
            }
            "fixed64" | "sfixed64" => {
                varint(tag(1), out);
                out.extend(integer().to_le_bytes());
            }
            kind => {
                let full = self.resolve(message, kind);
                if let Some(values) = self.enums.get(&full) {
                    let number = match value.as_str() {
                        Some(name) => {
                            values
                                .iter()
                                .find(|(other, _)| other == name)
                                .unwrap_or_else(|| panic!("{full} has no {name}"))
                                .1
                        }
                        None => integer(),
                    };
                    [tag(0), number].into_iter().for_each(|number| varint(number, out));
                } else {
                    bytes(&self.encode(&full, value));
                }
            }
        }
    }

    /// The bytes of a message as JSON.
    pub fn decode(&self, message: &str, mut bytes: &[u8]) -> Value {
        let fields = &self.messages[message];
        let mut out = Map::new();
        while !bytes.is_empty() {
            let tag = read_varint(&mut bytes);
            let field = fields
                .iter()
                .find(|field| field.number == tag >> 3)
                .unwrap_or_else(|| panic!("{message} has no field {}", tag >> 3));
            let value = match tag & 7 {
                0 => self.decode_number(message, field, read_varint(&mut bytes)),
                1 => {
                    let raw = u64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap());
                    if field.kind == "double" { json!(f64::from_bits(raw)) } else { json!(raw) }
                }
                2 => {
                    let length = usize::try_from(read_varint(&mut bytes)).unwrap();
                    let content = take(&mut bytes, length);
                    match field.kind.as_str() {
                        "string" => json!(std::str::from_utf8(content).unwrap()),
                        "bytes" => json!(STANDARD.encode(content)),
                        kind => self.decode(&self.resolve(message, kind), content),
                    }
                }
                5 => {
                    let raw = u32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap());
                    if field.kind == "float" { json!(f32::from_bits(raw)) } else { json!(raw) }
                }
                other => panic!("wire type {other}"),
            };
            if field.repeated {
                let list = out.entry(field.name.clone()).or_insert_with(|| json!([]));
                list.as_array_mut().unwrap().push(value);
            } else {
                out.insert(field.name.clone(), value);
            }
        }
        Value::Object(out)
    }

    fn decode_number(&self, message: &str, field: &Field, number: u64) -> Value {
        match field.kind.as_str() {
            "bool" => json!(number != 0),
            "int32" | "int64" => json!(number.cast_signed()),
            "uint32" | "uint64" => Value::Number(Number::from(number)),
            kind => {
                let values = &self.enums[&self.resolve(message, kind)];
                values.iter().find(|(_, value)| *value == number).map_or_else(|| json!(number), |(name, _)| json!(name))
            }
        }
    }
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_varint(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = take(bytes, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return number;
        }
        shift += 7;
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (head, tail) = bytes.split_at(count);
    *bytes = tail;
    head
}
