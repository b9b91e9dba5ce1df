//! WebP, lossless, of one colour.

/// Bits, the lowest first, as VP8L has them.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn put(&mut self, value: u32, count: usize) {
        for at in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = (value >> at & 1) as u8;
            let last = self.bytes.len() - 1;
            self.bytes[last] |= bit << (self.used % 8);
            self.used += 1;
        }
    }

    /// A prefix code of one symbol: it takes no bits in the picture.
    fn put_single(&mut self, symbol: u32) {
        // Simple code, one symbol, written with eight bits.
        self.put(1, 1);
        self.put(0, 1);
        self.put(1, 1);
        self.put(symbol, 8);
    }
}

const SIDE: u32 = 64;

/// A VP8L picture: red, green, blue, opaque.
fn picture(colour: [u8; 3]) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(0x2f, 8);
    bits.put(SIDE - 1, 14);
    bits.put(SIDE - 1, 14);
    // Alpha is used; version 0; no transform, colour cache or meta codes.
    bits.put(1, 1);
    bits.put(0, 3);
    bits.put(0, 1);
    bits.put(0, 1);
    bits.put(0, 1);
    let [red, green, blue] = colour;
    for symbol in [green, red, blue, 255, 0] {
        bits.put_single(u32::from(symbol));
    }
    bits.bytes
}

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut chunk = name.to_vec();
    chunk.extend((content.len() as u32).to_le_bytes());
    chunk.extend(content);
    if content.len() % 2 == 1 {
        chunk.push(0);
    }
    chunk
}

fn riff(content: &[u8]) -> Vec<u8> {
    let mut form = b"WEBP".to_vec();
    form.extend(content);
    chunk(b"RIFF", &form)
}

/// A still picture.
pub fn still() -> Vec<u8> {
    riff(&chunk(b"VP8L", &picture([45, 136, 255])))
}

fn three(value: u32) -> [u8; 3] {
    let [a, b, c, _] = value.to_le_bytes();
    [a, b, c]
}

/// Two pictures, half a second each, for ever.
pub fn animated() -> Vec<u8> {
    // Animation and alpha.
    let mut extended = vec![0x12, 0, 0, 0];
    extended.extend(three(SIDE - 1));
    extended.extend(three(SIDE - 1));
    let mut file = chunk(b"VP8X", &extended);
    file.extend(chunk(b"ANIM", &[0; 6]));
    for colour in [[45, 136, 255], [255, 136, 45]] {
        let mut frame = Vec::new();
        for field in [0, 0, SIDE - 1, SIDE - 1, 500] {
            frame.extend(three(field));
        }
        frame.push(0);
        frame.extend(chunk(b"VP8L", &picture(colour)));
        file.extend(chunk(b"ANMF", &frame));
    }
    riff(&file)
}
