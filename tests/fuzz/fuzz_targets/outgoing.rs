//! Fuzzes `metagov_fuzz::outgoing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagov_fuzz::outgoing(data));
