//! Fuzzes `metagov_fuzz::github`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagov_fuzz::github(data));
