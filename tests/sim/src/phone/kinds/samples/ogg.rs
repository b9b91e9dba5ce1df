//! Opus in Ogg.

const SERIAL: u32 = 0x51_4d_31_57;
/// Samples of a 20 ms packet at 48 kHz.
const SAMPLES: u64 = 960;

/// So many packets of 20 ms of silence, one channel.
pub fn silence(packets: u64) -> Vec<u8> {
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend(312u16.to_le_bytes());
    head.extend(48_000u32.to_le_bytes());
    head.extend([0, 0, 0]);
    let mut tags = b"OpusTags".to_vec();
    tags.extend(3u32.to_le_bytes());
    tags.extend(b"sim");
    tags.extend(0u32.to_le_bytes());
    let mut file = page(2, 0, 0, &[&head]);
    file.extend(page(0, 0, 1, &[&tags]));
    // CELT, full band, 20 ms: a frame of silence.
    let packet: &[u8] = &[0xf8, 0xff, 0xfe];
    let all = vec![packet; packets as usize];
    file.extend(page(4, packets * SAMPLES, 2, &all));
    file
}

fn page(flags: u8, position: u64, number: u32, packets: &[&[u8]]) -> Vec<u8> {
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend(position.to_le_bytes());
    page.extend(SERIAL.to_le_bytes());
    page.extend(number.to_le_bytes());
    page.extend([0; 4]);
    page.push(packets.len() as u8);
    page.extend(packets.iter().map(|packet| packet.len() as u8));
    for packet in packets {
        page.extend(*packet);
    }
    let sum = checksum(&page);
    page[22..26].copy_from_slice(&sum.to_le_bytes());
    page
}

fn checksum(page: &[u8]) -> u32 {
    page.iter().fold(0u32, |mut sum, byte| {
        sum ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            sum = if sum >> 31 == 1 { sum << 1 ^ 0x04c1_1db7 } else { sum << 1 };
        }
        sum
    })
}
