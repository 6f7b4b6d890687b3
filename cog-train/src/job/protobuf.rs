//! The fields of protobuf messages, written by hand.

// The wire types.
pub(super) const VARINT: u64 = 0;
pub(super) const FIXED64: u64 = 1;
pub(super) const BYTES: u64 = 2;
pub(super) const FIXED32: u64 = 5;

pub(super) fn key(into: &mut Vec<u8>, field: u64, wire: u64) {
    varint(into, field << 3 | wire);
}

pub(super) fn varint(into: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push((number & 0x7f) as u8);
}

pub(super) fn fixed64(into: &mut Vec<u8>, field: u64, bits: u64) {
    key(into, field, FIXED64);
    into.extend(bits.to_le_bytes());
}

pub(super) fn bytes_field(into: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    key(into, field, BYTES);
    varint(into, bytes.len() as u64);
    into.extend(bytes);
}
