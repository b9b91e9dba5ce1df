//! MP4 with one H.264 picture whose macroblocks are written uncompressed.

pub const WIDTH: u32 = 128;
pub const HEIGHT: u32 = 96;
const BLOCKS: usize = (WIDTH as usize / 16) * (HEIGHT as usize / 16);

/// Baseline profile, level 1, 128x96.
const SEQUENCE: &[u8] = &[0x67, 0x42, 0x00, 0x0a, 0xf8, 0x41, 0xa2];
const PICTURE: &[u8] = &[0x68, 0xce, 0x38, 0x80];

/// One key frame of grey.
fn slice() -> Vec<u8> {
    // The header and the start of the first macroblock.
    let mut slice = vec![0x05, 0x88, 0x84, 0x21, 0xa0];
    for block in 0..BLOCKS {
        if block > 0 {
            slice.extend([0x0d, 0x00]);
        }
        // 256 samples of light, twice 64 of colour.
        slice.extend([0x80; 384]);
    }
    slice.push(0x80);
    slice
}

fn part(name: &[u8; 4], pieces: &[&[u8]]) -> Vec<u8> {
    let size = 8 + pieces.iter().map(|piece| piece.len()).sum::<usize>();
    let mut part = (size as u32).to_be_bytes().to_vec();
    part.extend(name);
    for piece in pieces {
        part.extend(*piece);
    }
    part
}

fn numbers(all: &[u32]) -> Vec<u8> {
    all.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// Turned by nothing.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

fn movie(offset: u32, sample: u32) -> Vec<u8> {
    // A thousand units a second; one second long.
    let mut header = numbers(&[0, 0, 0, 1000, 1000, 0x1_0000, 0x0100_0000, 0, 0]);
    header.extend(numbers(&MATRIX));
    header.extend([0; 24]);
    header.extend(numbers(&[2]));
    let mut track = numbers(&[7, 0, 0, 1, 0, 1000, 0, 0, 0, 0]);
    track.extend(numbers(&MATRIX));
    track.extend(numbers(&[WIDTH << 16, HEIGHT << 16]));
    let media = part(
        b"mdia",
        &[
            &part(b"mdhd", &[&numbers(&[0, 0, 0, 1000, 1000, 0x55c4_0000])]),
            &part(b"hdlr", &[&numbers(&[0, 0]), b"vide", &[0; 12], b"video\0"]),
            &part(
                b"minf",
                &[
                    &part(b"vmhd", &[&numbers(&[1, 0, 0])]),
                    &part(b"dinf", &[&part(b"dref", &[&numbers(&[0, 1]), &part(b"url ", &[&numbers(&[1])])])]),
                    &table(offset, sample),
                ],
            ),
        ],
    );
    part(b"moov", &[&part(b"mvhd", &[&header]), &part(b"trak", &[&part(b"tkhd", &[&track]), &media])])
}

/// Where the one sample is and how it is coded.
fn table(offset: u32, sample: u32) -> Vec<u8> {
    let mut config = vec![1, SEQUENCE[1], SEQUENCE[2], SEQUENCE[3], 0xff, 0xe1, 0, SEQUENCE.len() as u8];
    config.extend(SEQUENCE);
    config.extend([1, 0, PICTURE.len() as u8]);
    config.extend(PICTURE);
    let mut coding = vec![0; 6];
    coding.extend([0, 1]);
    coding.extend([0; 16]);
    coding.extend(numbers(&[WIDTH << 16 | HEIGHT, 0x0048_0000, 0x0048_0000, 0]));
    coding.extend([0, 1]);
    coding.extend([0; 32]);
    coding.extend([0, 0x18, 0xff, 0xff]);
    let coding = part(b"avc1", &[&coding, &part(b"avcC", &[&config])]);
    part(
        b"stbl",
        &[
            &part(b"stsd", &[&numbers(&[0, 1]), &coding]),
            &part(b"stts", &[&numbers(&[0, 1, 1, 1000])]),
            &part(b"stsc", &[&numbers(&[0, 1, 1, 1, 1])]),
            &part(b"stsz", &[&numbers(&[0, sample, 1])]),
            &part(b"stco", &[&numbers(&[0, 1, offset])]),
        ],
    )
}

/// The file.
pub fn file() -> Vec<u8> {
    let slice = slice();
    let mut sample = numbers(&[slice.len() as u32]);
    sample.extend(slice);
    let start = part(b"ftyp", &[b"isom", &numbers(&[0x200]), b"isomavc1mp41"]);
    let size = sample.len() as u32;
    // The place of the data follows from the size of what is before it.
    let before = start.len() + movie(0, size).len() + 8;
    let mut file = start;
    file.extend(movie(before as u32, size));
    file.extend(part(b"mdat", &[&sample]));
    file
}
