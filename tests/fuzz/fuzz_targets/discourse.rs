//! Fuzzes `metagov_fuzz::discourse`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagov_fuzz::discourse(data));
