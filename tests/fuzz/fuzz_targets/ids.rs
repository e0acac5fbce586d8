//! Fuzzes `metagov_fuzz::ids`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| metagov_fuzz::ids(data));
