//! Fuzzes `metagov_fuzz::strict_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagov_fuzz::strict_json(data));
