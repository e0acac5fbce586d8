//! Fuzzes `metagov_fuzz::cursor`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagov_fuzz::cursor(data));
